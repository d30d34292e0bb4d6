// Runs a client of clients.toml: its setup once, and its request, an expression, once for each line on standard input.
//
// Usage: java Run PACKAGE. Prints the version of the client, and then each outcome, as JSON.
IMPORTS
import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;

public final class Run {
    public static void main(String[] arguments) throws Exception {
        // Some clients print to standard output, which is for the answers.
        PrintStream out =
            new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        System.setOut(System.err);
        SETUP
        out.println(new Gson().toJson(Map.of("version", version(arguments[0]))));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        while (lines.readLine() != null) {
            Map<String, Object> outcome;
            try {
                Object value = REQUEST;
                outcome = Map.of("value", value);
            } catch (Exception error) {
                outcome = Map.of("error", error.toString());
            }
            out.println(new Gson().toJson(outcome));
        }
        System.exit(0);
    }

    /** Reads it from the name of the library. */
    private static String version(String artifact) {
        for (String path : System.getProperty("java.class.path").split(":")) {
            String name = new File(path).getName();
            if (name.startsWith(artifact + "-") && name.endsWith(".jar")) {
                return name.substring(artifact.length() + 1, name.length() - 4);
            }
        }
        throw new IllegalStateException(artifact + " is not there");
    }
}
