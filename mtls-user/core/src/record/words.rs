//! The vocabularies of the JSON.

use super::word::{Word, vocabulary};

vocabulary! {
    /// What a flow is. Never decided by absence: each value except `no-data` and `unobserved` has
    /// evidence. Ordered by severity, the worst first.
    Verdict {
        /// Readable by anyone on the path.
        Plaintext = "plaintext",
        /// Bytes that are neither TLS nor a protocol known here.
        Opaque = "opaque",
        /// Samples were lost or never taken; nothing is claimed.
        Unobserved = "unobserved",
        /// TLS, but whether the client was authenticated cannot be determined; the reason says why.
        TlsUnproven = "tls-unproven",
        /// TLS with the server alone authenticated.
        Tls = "tls",
        /// The handshake ended by an alert or a close: no application data was protected or exposed.
        Failed = "failed",
        /// The connection carried no payload.
        NoData = "no-data",
        /// Both sides presented certificates.
        Mtls = "mtls",
    }
}

vocabulary! {
    /// How a verdict is known.
    Evidence {
        /// The certificates themselves, unencrypted (TLS 1.2 and earlier).
        Certificates = "certificates",
        /// TLS 1.3: the lengths of the client's encrypted flight.
        HandshakeShape = "handshake-shape",
        /// A mesh's fingerprint: its own claim, weaker than the two above.
        Mesh = "mesh",
        /// Resumption of a session whose verdict is known, by a ticket or a session id that was
        /// seen unencrypted.
        Resumption = "resumption",
        /// TLS 1.3: a resumption that was given the verdict of the last full handshake of the same
        /// client and server. Weaker than `resumption`, because the ticket was encrypted when it
        /// was issued.
        Inherited = "inherited",
        /// Record framing of a stream whose handshake was not seen.
        RecordFraming = "record-framing",
        /// An in-band upgrade, accepted or refused.
        Upgrade = "upgrade",
        /// The first bytes of the stream.
        FirstBytes = "first-bytes",
    }
}

vocabulary! {
    /// What was not seen of a connection, or cannot be determined: it may have carried more than
    /// its verdict is based on.
    Unseen {
        /// Its start: it was opened before mtls started, or the start was lost.
        Start = "start",
        /// Samples that the kernel could not deliver.
        Samples = "samples",
        /// Segments that are missing from a capture.
        Bytes = "bytes",
        /// Payload in IP fragments.
        Fragments = "fragments",
        /// One of its two directions.
        Direction = "direction",
        /// Which of two conflicting contents for the same bytes the receiver accepted.
        Conflict = "conflict",
    }
}

vocabulary! {
    /// Whether the start of the connection was seen.
    Origin or Midstream {
        /// Seen from its SYN on.
        Syn = "syn",
        /// Already open when observation began.
        Midstream = "midstream",
    }
}

vocabulary! {
    /// What happened to a flow.
    Event {
        /// Both ends answered each other, or payload was seen.
        Opened = "opened",
        /// Its verdict is known.
        Classified = "classified",
        /// A contradiction changed its verdict.
        Revised = "revised",
        /// More is known about it, and the verdict is unchanged.
        Updated = "updated",
        /// It ended, or is forgotten; nothing more is reported about it.
        Closed = "closed",
        /// The reader was too slow for this many events; the line has no flow.
        Missed = "missed",
    }
}

vocabulary! {
    /// An end of a connection.
    Side {
        /// The end that opened the connection.
        Client = "client",
        /// The end that accepted it.
        Server = "server",
    }
}

impl Side {
    /// Both ends.
    pub const BOTH: [Self; 2] = Self::ALL;

    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// The index of per-side data.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

vocabulary! {
    /// The transport protocol.
    Transport or Tcp {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }
}

vocabulary! {
    /// The end at which the flow was observed, as in Istio's metrics.
    Reporter {
        /// At the client's interface.
        Source = "source",
        /// At the server's interface.
        Destination = "destination",
        /// At both: client and server are pods of this node.
        Both = "both",
    }
}

impl Reporter {
    /// From whether a flow was seen at either end's interface; `None` if neither is known.
    pub fn of(at_client: bool, at_server: bool) -> Option<Word<Self>> {
        Some(Word::Known(match (at_client, at_server) {
            (true, true) => Self::Both,
            (true, false) => Self::Source,
            (false, true) => Self::Destination,
            (false, false) => return None,
        }))
    }

    /// The combination of two reports.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }
}

vocabulary! {
    /// What an edge amounts to, the worst first.
    Mark {
        /// Something was sent in cleartext.
        Clear = "clear",
        /// Something could not be determined or was not seen.
        Unknown = "unknown",
        /// All of it is TLS, some of it with only the server authenticated.
        OneWay = "one-way",
        /// Every connection that carried data was seen from its start, and is mutual TLS.
        Mutual = "mutual",
    }
}

vocabulary! {
    /// Why a flow does not count towards its edge.
    Exempt {
        /// The connection carried nothing.
        NoData = "no-data",
        /// The server refused the connection: nothing listens on the port.
        Refused = "refused",
        /// The kubelet's own check whether the pod is alive or ready.
        KubeletProbe = "kubelet-probe",
        /// A metrics collector's plaintext scrape.
        Scrape = "scrape",
        /// DNS, whose names any resolver on the way may read, and which is unencrypted in a
        /// cluster.
        Dns = "dns",
        /// Exempted by the operator.
        Declared = "declared",
    }
}

vocabulary! {
    /// What an operator expects of a flow, from the server's annotation, or from the mesh that its
    /// ends are in and that mesh's policies.
    Expected {
        /// Mutual TLS.
        Mtls = "mtls",
        /// TLS, with only the server or both sides authenticated.
        Tls = "tls",
        /// Plaintext: the mesh bypasses this port, or uses plaintext on it, or an annotation says
        /// so.
        Plaintext = "plaintext",
    }
}

vocabulary! {
    /// What was seen, compared with what was expected.
    Outcome {
        /// Less protected than expected.
        Worse = "worse",
        /// As expected.
        AsExpected = "as-expected",
        /// Better protected than expected.
        Better = "better",
        /// Nothing is expected of it.
        NothingExpected = "nothing-expected",
        /// Its verdict is unknown, so it cannot be compared.
        Undecided = "undecided",
    }
}

vocabulary! {
    /// Why something is expected of a flow, or why a mesh did not protect it as expected.
    Unmet {
        /// The kubelet's probe, which is plaintext by nature.
        KubeletProbe = "kubelet-probe",
        /// A port on which the mesh itself speaks plaintext.
        MeshAdminPort = "mesh-admin-port",
        /// A port that bypasses the mesh.
        PortSkipped = "port-skipped",
        /// A collector of metrics.
        Scrape = "scrape",
        /// An end that is in no mesh.
        PeerNotInMesh = "peer-not-in-mesh",
        /// An end that uses the host network, which a mesh cannot cover.
        HostNetwork = "host-network",
        /// A pod created before the mesh's proxy injection.
        StartedBeforeInjection = "started-before-injection",
        /// The ends are in different meshes.
        DifferentMeshes = "different-meshes",
        /// A port that the mesh should carry as opaque, but did not.
        OpaquePort = "opaque-port",
        /// The server, or its namespace, is annotated `mtls.internal/expect`.
        Annotated = "annotated",
        /// A policy of the server's mesh.
        Policy = "policy",
        /// Both ends are in the mesh, and nothing explains why it did not protect them.
        Unexplained = "unexplained",
    }
}

vocabulary! {
    /// Why a sample was lost.
    Loss {
        /// The ring buffer was full.
        RingFull = "ring-full",
        /// There was no room for the flow in the kernel's table.
        MapFull = "map-full",
        /// The bytes could not be read from the packet.
        Unreadable = "unreadable",
        /// The interface had used its share of the ring buffer.
        OverShare = "over-share",
        /// The payload came in IP fragments.
        Fragments = "fragments",
    }
}

vocabulary! {
    /// The kind of an end of a flow. A workload of another kind has its kind's own name, in lower
    /// case.
    Kind or Unknown {
        /// A pod without an owner.
        Pod = "pod",
        /// A Deployment.
        Deployment = "deployment",
        /// A StatefulSet.
        StatefulSet = "statefulset",
        /// A DaemonSet.
        DaemonSet = "daemonset",
        /// A ReplicaSet without an owner.
        ReplicaSet = "replicaset",
        /// A Job.
        Job = "job",
        /// A CronJob.
        CronJob = "cronjob",
        /// A Service, if the pod behind it is not known.
        Service = "service",
        /// The node itself.
        Node = "node",
        /// An address outside every private network.
        External = "external",
        /// A private address for which no source has a name.
        Unknown = "unknown",
    }
}

vocabulary! {
    /// What is known of the client's certificate.
    ClientCertificate or Unknown {
        /// It cannot be determined, or not yet.
        Unknown = "unknown",
        /// The server did not request one.
        NotRequested = "not-requested",
        /// Requested, and the client answered with an empty list.
        NotPresented = "not-presented",
        /// Presented (and, as far as is visible, accepted).
        Presented = "presented",
        /// Presented or missing, and the server ended the handshake.
        Refused = "refused",
    }
}

vocabulary! {
    /// Whether a certificate was valid at the time of the handshake.
    Validity or Valid {
        /// It was.
        Valid = "valid",
        /// It had expired.
        Expired = "expired",
        /// It was not valid yet.
        NotYetValid = "not-yet-valid",
    }
}
