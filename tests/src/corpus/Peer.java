// One end of a connection on Java's JSSE, for the corpus.

import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.security.KeyStore;
import java.security.Provider;
import java.security.Security;
import java.security.cert.X509Certificate;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

public class Peer {
    /** Trusts whatever it gets: the corpus is about what is on the wire. */
    static final TrustManager TRUSTING = new X509TrustManager() {
        public void checkClientTrusted(X509Certificate[] chain, String type) {}
        public void checkServerTrusted(X509Certificate[] chain, String type) {}
        public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
    };

    static SSLContext context(String store, boolean certificate) throws Exception {
        KeyManager[] keys = null;
        if (certificate) {
            KeyStore keyStore = KeyStore.getInstance("PKCS12");
            keyStore.load(new FileInputStream(store), "secret".toCharArray());
            KeyManagerFactory factory = KeyManagerFactory.getInstance("SunX509");
            factory.init(keyStore, "secret".toCharArray());
            keys = factory.getKeyManagers();
        }
        SSLContext context = System.getProperty("peer.provider") == null
            ? SSLContext.getInstance("TLS") : SSLContext.getInstance("TLS", "BCJSSE");
        context.init(keys, new TrustManager[] {TRUSTING}, null);
        return context;
    }

    public static void main(String[] args) throws Exception {
        if (args[0].equals("serve")) {
            serve(args);
        } else {
            connect(args);
        }
    }

    static void serve(String[] args) throws Exception {
        SSLServerSocket listener = (SSLServerSocket) context(args[2], true)
            .getServerSocketFactory().createServerSocket(Integer.parseInt(args[1]));
        listener.setEnabledProtocols(new String[] {args[3]});
        listener.setWantClientAuth(args[4].equals("want"));
        if (args[4].equals("need")) listener.setNeedClientAuth(true);
        while (true) {
            SSLSocket socket = (SSLSocket) listener.accept();
            new Thread(() -> {
                try (socket) {
                    BufferedReader reader = new BufferedReader(new InputStreamReader(socket.getInputStream()));
                    for (String line = reader.readLine(); line != null && !line.isEmpty(); line = reader.readLine()) {}
                    OutputStream out = socket.getOutputStream();
                    out.write("HTTP/1.0 200 OK\r\n\r\nhello\n".getBytes());
                    out.flush();
                } catch (Exception e) {
                    System.err.println(e);
                }
            }).start();
        }
    }

    static void connect(String[] args) throws Exception {
        boolean certificate = args[5].equals("true");
        if (System.getProperty("peer.provider") != null) {
            for (String name : List.of("jce.provider.BouncyCastleProvider", "jsse.provider.BouncyCastleJsseProvider")) {
                Class<?> provider = Class.forName("org.bouncycastle." + name);
                Security.addProvider((Provider) provider.getDeclaredConstructor().newInstance());
            }
        }
        SSLContext context = context(args[3], certificate);
        for (int turn = 0; turn == 0 || turn == 1 && System.getProperty("peer.again") != null; turn++) {
            ask(context, args);
        }
    }

    static void ask(SSLContext context, String[] args) throws Exception {
        SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(args[1], Integer.parseInt(args[2]));
        socket.setEnabledProtocols(new String[] {args[4]});
        SSLParameters parameters = socket.getSSLParameters();
        Integer packet = Integer.getInteger("peer.packet");
        if (packet != null) parameters.setMaximumPacketSize(packet);
        parameters.setServerNames(List.of(new SNIHostName(args[6])));
        String alpn = System.getProperty("peer.alpn");
        if (alpn != null) parameters.setApplicationProtocols(new String[] {alpn, "http/1.1"});
        socket.setSSLParameters(parameters);
        OutputStream out = socket.getOutputStream();
        out.write("GET / HTTP/1.0\r\n\r\n".getBytes());
        out.flush();
        BufferedReader reader = new BufferedReader(new InputStreamReader(socket.getInputStream()));
        for (String line = reader.readLine(); line != null; line = reader.readLine()) System.out.println(line);
        socket.close();
    }
}
