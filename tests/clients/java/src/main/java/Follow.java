import com.aliyun.credentials.Client;
import com.aliyun.credentials.models.Config;
import com.aliyun.credentials.models.CredentialModel;
import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Fetches credentials in the ways of credentials-java that the arguments name, once for each {@code fetch} line on
 * standard input.
 *
 * <p>The provider objects are made once and reused, so the answers show whether they follow a rotation.
 */
public final class Follow {
    public static void main(String[] names) throws IOException {
        // The SDK prints its warnings to standard output, which is for the answers.
        PrintStream out = System.out;
        System.setOut(System.err);

        Map<String, Client> ways = new LinkedHashMap<>();
        for (String name : names) {
            ways.put(name, client(name));
        }

        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            if (!line.trim().equals("fetch")) {
                continue;
            }
            Map<String, Map<String, String>> answers = new LinkedHashMap<>();
            ways.forEach((name, client) -> answers.put(name, answer(client)));
            out.println(new Gson().toJson(answers));
        }
        // Some providers keep threads that are not daemons.
        System.exit(0);
    }

    private static Client client(String way) {
        Config config = new Config();
        config.setType(way);
        switch (way) {
            case "credentials_uri":
                config.setCredentialsUri(System.getenv("ALIBABA_CLOUD_CREDENTIALS_URI"));
                return new Client(config);
            case "ecs_ram_role":
                return new Client(config);
            case "default":
                return new Client();
            default:
                throw new IllegalArgumentException("unknown way: " + way);
        }
    }

    private static Map<String, String> answer(Client client) {
        Map<String, String> answer = new LinkedHashMap<>();
        try {
            CredentialModel credential = client.getCredential();
            answer.put("AccessKeyId", credential.getAccessKeyId());
            answer.put("AccessKeySecret", credential.getAccessKeySecret());
            answer.put("SecurityToken", credential.getSecurityToken());
        } catch (RuntimeException failure) {
            answer.put("error", failure.toString());
        }
        return answer;
    }
}
