//! Why a verdict is what it is, as something a program can decide on and count.

use super::word::vocabulary;

vocabulary! {
    /// The reason of a verdict; `reason` beside it says the same in a sentence, with the lengths,
    /// names and ages of the case.
    Cause or Other {
        /// A reason that has no word of its own yet.
        Other = "other",
        /// No payload was seen.
        NoPayload = "no-payload",
        /// The server answered the connection's SYN with a reset.
        ConnectionRefused = "connection-refused",
        /// It carried bytes, and none of them was seen.
        PayloadNotSeen = "payload-not-seen",
        /// Its payload came in IP fragments.
        Fragmented = "fragmented",
        /// No answer to its SYN was seen.
        Unanswered = "unanswered",
        /// No payload was seen, nor an end that would prove that there was none.
        EndNotSeen = "end-not-seen",
        /// Two contents were seen for the same bytes.
        Contested = "contested",
        /// Not enough was seen yet.
        NotDecided = "not-decided",
        /// The handshake is not over.
        HandshakeNotOver = "handshake-not-over",
        /// Samples of the flow were lost.
        SamplesLost = "samples-lost",
        /// The start of the flow was not seen, and nothing after it tells what it is.
        StartNotSeen = "start-not-seen",
        /// A protocol in clear.
        Unencrypted = "unencrypted",
        /// A password went in clear, whatever was encrypted after it: the verdict is that of the TLS
        /// behind it, or `plaintext` where that is mutual or carried nothing.
        SecretInClear = "secret-in-clear",
        /// The client asked for TLS, and the server declined.
        UpgradeDeclined = "upgrade-declined",
        /// The client asked for TLS, and what came of it was not seen.
        UpgradeUnanswered = "upgrade-unanswered",
        /// Encrypted by the protocol's own means, not by TLS.
        OwnEncryption = "own-encryption",
        /// The server answered a ClientHello in clear.
        HelloAnsweredInClear = "hello-answered-in-clear",
        /// What follows TLS records is no TLS.
        Contradicted = "contradicted",
        /// The length of the client's first encrypted flight tells, or does not.
        FlightLength = "flight-length",
        /// The handshake's messages in clear tell which certificates were sent.
        Certificates = "certificates",
        /// The server did not request a client certificate.
        NotRequested = "not-requested",
        /// The server requested a client certificate, and the client sent none.
        NotPresented = "not-presented",
        /// The client's encrypted flight may be a certificate, or something padded to its length.
        PaddingNotExcluded = "padding-not-excluded",
        /// An alert ended the handshake.
        Alert = "alert",
        /// The session continues one whose handshake was seen.
        Resumed = "resumed",
        /// The client authenticated in a renegotiation.
        Renegotiated = "renegotiated",
        /// Whether the server accepted the client's flight was not seen.
        ClientLeft = "client-left",
        /// A packet of the client's came after its verdict, and speaks against it.
        LatePacket = "late-packet",
        /// The ends share a key, and need no certificates.
        PreSharedKey = "pre-shared-key",
        /// The cipher suite authenticates nobody.
        Anonymous = "anonymous",
        /// The cipher suite encrypts nothing.
        NullCipher = "null-cipher",
        /// Part of the handshake was not seen.
        HandshakeNotSeen = "handshake-not-seen",
        /// The messages of the handshake contradict each other.
        HelloContradicts = "hello-contradicts",
        /// The connection was closed in the handshake.
        ClosedInHandshake = "closed-in-handshake",
        /// The session continues one whose handshake was not seen, or could not be determined.
        ResumptionUnknown = "resumption-unknown",
        /// Neither TLS nor a protocol that is known.
        UnknownBytes = "unknown-bytes",
        /// Too few bytes were sent or seen.
        TooLittle = "too-little",
    }
}
