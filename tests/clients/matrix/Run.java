// Runs the class Job, a program of clients.toml: its method main once for each line on standard input.
//
// Usage: java Run PACKAGE. Prints the version of the client, and then what each call printed, as JSON.
import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;

public final class Run {
    public static void main(String[] arguments) throws Exception {
        PrintStream answers =
            new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        answers.println(new Gson().toJson(Map.of("version", version(arguments[0]))));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        while (lines.readLine() != null) {
            ByteArrayOutputStream printed = new ByteArrayOutputStream();
            System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
            Map<String, String> outcome;
            try {
                Job.main(new String[0]);
                outcome = Map.of("printed", printed.toString(StandardCharsets.UTF_8));
            } catch (Throwable error) {
                outcome = Map.of("error", error.toString());
            }
            answers.println(new Gson().toJson(outcome));
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
