// A request over HTTP/2 and TLS, to a server whose certificate is in the truststore.
//
// Run as: java -Djavax.net.ssl.trustStore=... Truststore.java URL
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

class Truststore {
    public static void main(String[] arguments) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
            .header("Content-Type", "application/x-amz-json-1.1")
            .header("X-Amz-Target", "Kinesis_20131202.ListStreams")
            .header("X-Amz-Date", "20150122T012202Z")
            .header("Authorization", "AWS4-HMAC-SHA256 Credential=a/20150122/eu-west-1/kinesis/aws4_request, "
                + "SignedHeaders=host, Signature=b")
            .POST(HttpRequest.BodyPublishers.ofString("{}"))
            .build();
        HttpResponse<String> reply = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        if (reply.statusCode() != 200 || reply.version() != HttpClient.Version.HTTP_2) {
            throw new AssertionError(reply + " " + reply.body());
        }
    }
}
