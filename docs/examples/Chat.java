// A chat by Java's own HTTP client. Needs KEFU_INTAKE, KEFU_NOTIFICATIONS and KEFU_KEY.
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.time.Instant;
import java.util.Iterator;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public class Chat {
    static final HttpClient HTTP = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    static final String CHAT = "chat-" + UUID.randomUUID();

    /** Posts the same body until the answer is clear: 429, 5xx and broken connections are not. */
    static String post(String path, String id, String type, String data) throws Exception {
        String body = """
            {"id": "%s", "type": "%s", "site": "shop", "interaction": "%s", "occurred_at": "%s", "data": %s}
            """.formatted(id, type, CHAT, Instant.now(), data);
        HttpRequest request = request("KEFU_INTAKE", "/v1/" + path)
            .timeout(Duration.ofSeconds(10))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        for (long wait = 200; ; wait = Math.min(wait * 2, 10_000)) {
            try {
                HttpResponse<String> answer = HTTP.send(request, HttpResponse.BodyHandlers.ofString());
                int status = answer.statusCode();
                if (status < 300) return answer.body();
                if (status < 500 && status != 429) throw new IllegalStateException(answer.body());
                wait = Math.max(wait, 1000 * answer.headers().firstValueAsLong("Retry-After").orElse(0));
            } catch (IOException broken) {
                // Kefu may have it or not: the same again
            }
            Thread.sleep((long) (wait * (0.5 + Math.random() / 2)));
        }
    }

    static HttpRequest.Builder request(String service, String path) {
        return HttpRequest.newBuilder(URI.create(System.getenv(service) + path))
            .header("Authorization", "Bearer " + System.getenv("KEFU_KEY"));
    }

    /** The value of a text field; an application would use its JSON library. */
    static String field(String json, String name) {
        Matcher found = Pattern.compile("\"" + name + "\":\"([^\"]*)\"").matcher(json);
        return found.find() ? found.group(1) : "";
    }

    public static void main(String[] arguments) throws Exception {
        String mark = null;
        boolean asked = false;
        while (true) {
            HttpRequest.Builder stream = request("KEFU_NOTIFICATIONS", "/v1/stream?feed=outbound");
            if (mark != null) stream.header("Last-Event-ID", mark); // resumes behind the last one
            try {
                HttpResponse<java.util.stream.Stream<String>> answer =
                    HTTP.send(stream.build(), HttpResponse.BodyHandlers.ofLines());
                if (answer.statusCode() == 410) mark = null; // too old: from now on
                String id = mark;
                for (Iterator<String> lines = answer.body().iterator(); lines.hasNext(); ) {
                    String line = lines.next();
                    if (line.startsWith(": kefu") && !asked) {
                        asked = true;
                        System.out.println(post("chats", CHAT + "-1", "chat.started", "{\"page\": \"https://shop.example/oven\"}"));
                        System.out.println(post("chats", CHAT + "-2", "chat.message", "{\"text\": \"烤箱有货吗？\"}"));
                    } else if (line.startsWith("id: ")) {
                        id = line.substring(4);
                    } else if (line.isEmpty()) {
                        mark = id;
                    } else if (line.startsWith("data: ") && field(line, "subject").equals(CHAT)
                            && field(line, "type").equals("kefu.chat.say")
                            && Instant.parse(field(line, "expires_at")).isAfter(Instant.now())) {
                        System.out.println(field(line, "text"));
                        String instruction = field(line, "id");
                        post("outcomes", instruction + ".delivered", "instruction.delivered",
                            "{\"instruction\": \"" + instruction + "\"}");
                        return;
                    }
                }
            } catch (java.io.UncheckedIOException | IOException broken) {
                // opened again
            }
            Thread.sleep(500);
        }
    }
}
