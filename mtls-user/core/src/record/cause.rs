//! Why a flow has its verdict, as a word that programs can use for decisions and counts.

use super::word::vocabulary;

vocabulary! {
    /// The cause of a verdict; `reason` says the same in a sentence, with the lengths, names and
    /// ages of the case.
    Cause or Other {
        /// A reason without a word of its own yet.
        Other = "other",
        /// No payload was seen.
        NoPayload = "no-payload",
        /// The server answered the connection's SYN with a reset.
        ConnectionRefused = "connection-refused",
        /// It carried bytes, but none of it was captured.
        PayloadNotSeen = "payload-not-seen",
        /// Its payload came in IP fragments.
        Fragmented = "fragmented",
        /// No answer to its SYN was seen.
        Unanswered = "unanswered",
        /// No payload was seen, and no end that would prove that there was none.
        EndNotSeen = "end-not-seen",
        /// Conflicting contents were seen for the same bytes.
        Contested = "conflicting-data",
        /// Not enough has been seen yet.
        NotDecided = "not-decided",
        /// The handshake is not complete.
        HandshakeNotOver = "handshake-not-over",
        /// Samples of the flow were lost.
        SamplesLost = "samples-lost",
        /// The start of the flow was not seen, and nothing after it shows what it is.
        StartNotSeen = "start-not-seen",
        /// An unencrypted protocol.
        Unencrypted = "unencrypted",
        /// A password was sent in cleartext, whatever was encrypted after it: the verdict is that
        /// of the TLS after it, or `plaintext` if that is mutual or carried nothing.
        SecretInClear = "secret-in-clear",
        /// The client asked for TLS, and the server declined.
        UpgradeDeclined = "upgrade-declined",
        /// The client asked for TLS, and what followed was not seen.
        UpgradeUnanswered = "upgrade-unanswered",
        /// Encrypted by the protocol's own means, not by TLS.
        OwnEncryption = "own-encryption",
        /// The server answered a ClientHello in cleartext.
        HelloAnsweredInClear = "hello-answered-in-clear",
        /// What follows TLS records is not TLS.
        Contradicted = "contradicted",
        /// Decided by the length of the client's first encrypted flight, or undecided by it.
        FlightLength = "flight-length",
        /// The handshake's unencrypted messages show which certificates were sent.
        Certificates = "certificates",
        /// The server did not request a client certificate.
        NotRequested = "not-requested",
        /// The server requested a client certificate, and the client sent none.
        NotPresented = "not-presented",
        /// The client's encrypted flight may be a certificate, or something padded to its length.
        PaddingNotExcluded = "padding-not-excluded",
        /// An alert ended the handshake.
        Alert = "alert",
        /// The session resumes one whose handshake was seen.
        Resumed = "resumed",
        /// The client authenticated in a renegotiation.
        Renegotiated = "renegotiated",
        /// It was not seen whether the server accepted the client's flight.
        ClientLeft = "client-left",
        /// A packet of the client that arrived after the verdict contradicts it.
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
        /// The session resumes one whose handshake was not seen, or which session it resumes could
        /// not be determined.
        ResumptionUnknown = "resumption-unknown",
        /// Neither TLS nor a known protocol.
        UnknownBytes = "unknown-bytes",
        /// Too few bytes were sent or seen.
        TooLittle = "too-little",
    }
}
