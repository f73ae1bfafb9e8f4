//! The vocabularies of the JSON.

use super::word::{Word, vocabulary};

vocabulary! {
    /// What a flow is. Never from absence: each one but `no-data` and `unobserved` has evidence.
    ///
    /// The order is how much a flow of that kind worries: the worst first.
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
        /// The certificates themselves, in clear (TLS 1.2 and before).
        Certificates = "certificates",
        /// TLS 1.3: the lengths of the client's encrypted flight.
        HandshakeShape = "handshake-shape",
        /// A mesh's fingerprint: its own claim, weaker than the two above.
        Mesh = "mesh",
        /// Resumption of a session whose verdict is known, by a ticket or a session id seen in clear.
        Resumption = "resumption",
        /// TLS 1.3: a resumption that was given the verdict of the last full handshake of the same
        /// client and server. Weaker than `resumption`: its ticket was encrypted when it was given.
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
    /// What of a connection was not seen, or cannot be determined: it may have carried more than what its
    /// verdict stands on.
    Unseen {
        /// Its start: it was opened before mtls started, or the start was lost.
        Start = "start",
        /// Samples that the kernel could not deliver.
        Samples = "samples",
        /// Segments that a capture lacks.
        Bytes = "bytes",
        /// Payload in IP fragments.
        Fragments = "fragments",
        /// One of its two directions.
        Direction = "direction",
        /// Which of two contents for the same bytes the receiver took.
        Conflict = "conflict",
    }
}

vocabulary! {
    /// Whether the start of the connection was seen.
    Origin or Midstream {
        /// Seen from its SYN on.
        Syn = "syn",
        /// Older than the observation.
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
        /// More is known of it, and the verdict stands.
        Updated = "updated",
        /// It ended, or is forgotten; nothing more is said of it.
        Closed = "closed",
        /// The reader was too slow for that many events; the line has no flow.
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

    /// The index of what is kept per side.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

vocabulary! {
    /// What carries the flow.
    Transport or Tcp {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }
}

vocabulary! {
    /// At which end of the flow it was observed, as Istio's metrics have it.
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
    /// By whether a flow was seen at either end's interface; `None` where neither is known.
    pub fn of(at_client: bool, at_server: bool) -> Option<Word<Self>> {
        Some(Word::Known(match (at_client, at_server) {
            (true, true) => Self::Both,
            (true, false) => Self::Source,
            (false, true) => Self::Destination,
            (false, false) => return None,
        }))
    }

    /// What is known when both have reported.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }
}

vocabulary! {
    /// What an edge comes to, the worst first.
    Mark {
        /// Something went in clear.
        Clear = "clear",
        /// Something could not be determined or was not seen.
        Unknown = "unknown",
        /// All of it TLS, some of it with the server alone authenticated.
        OneWay = "one-way",
        /// Every connection that carried data was seen from its start, and is mutual TLS.
        Mutual = "mutual",
    }
}

vocabulary! {
    /// Why a flow is left out of what names its edge.
    Exempt {
        /// The connection carried nothing.
        NoData = "no-data",
        /// The server refused the connection: nothing listens on the port.
        Refused = "refused",
        /// The kubelet's own check whether the pod is alive or ready.
        KubeletProbe = "kubelet-probe",
        /// A collector of metrics asked for them in clear.
        Scrape = "scrape",
        /// DNS, whose names any resolver on the way may read, and which a cluster has in clear.
        Dns = "dns",
        /// The operator has declared it.
        Declared = "declared",
    }
}

vocabulary! {
    /// What an operator may expect of a flow, by the server's annotation, or by the mesh that its ends
    /// are in and that one's policies.
    Expected {
        /// Mutual TLS.
        Mtls = "mtls",
        /// TLS, with the server alone authenticated or both.
        Tls = "tls",
        /// Plaintext: the mesh leaves this port alone, or speaks plaintext there itself, or so it is
        /// annotated.
        Plaintext = "plaintext",
    }
}

vocabulary! {
    /// What was seen, held against what was expected.
    Outcome {
        /// Less protected than expected.
        Worse = "worse",
        /// As expected.
        AsExpected = "as-expected",
        /// Better protected than expected.
        Better = "better",
        /// Nothing is expected of it.
        NothingExpected = "nothing-expected",
        /// What it is was not seen, so it can be held against nothing.
        Undecided = "undecided",
    }
}

vocabulary! {
    /// Why something is expected of a flow, or why a mesh did not protect it as expected.
    Unmet {
        /// The kubelet's probe, which is in clear by nature.
        KubeletProbe = "kubelet-probe",
        /// A port on which the mesh itself speaks plaintext.
        MeshAdminPort = "mesh-admin-port",
        /// A port that the mesh leaves alone.
        PortSkipped = "port-skipped",
        /// A collector of metrics.
        Scrape = "scrape",
        /// An end that is in no mesh.
        PeerNotInMesh = "peer-not-in-mesh",
        /// An end that uses the node's network, which a mesh cannot reach.
        HostNetwork = "host-network",
        /// A pod older than the injection of the mesh's proxy.
        StartedBeforeInjection = "started-before-injection",
        /// The ends are in different meshes.
        DifferentMeshes = "different-meshes",
        /// A port that the mesh carries as opaque, and did not.
        OpaquePort = "opaque-port",
        /// The server, or its namespace, is annotated `mtls.internal/expect`.
        Annotated = "annotated",
        /// A policy of the server's mesh.
        Policy = "policy",
        /// Both ends are in the mesh, and nothing shows why it did not protect them.
        Unexplained = "unexplained",
    }
}

vocabulary! {
    /// Why a sample was lost.
    Loss {
        /// The ring buffer was full.
        RingFull = "ring-full",
        /// The flow found no place in the kernel's table.
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
    /// What an end of a flow is. A workload of another kind has its own kind's name, in lower case.
    Kind or Unknown {
        /// A pod that belongs to nothing.
        Pod = "pod",
        /// A Deployment.
        Deployment = "deployment",
        /// A StatefulSet.
        StatefulSet = "statefulset",
        /// A DaemonSet.
        DaemonSet = "daemonset",
        /// A ReplicaSet that belongs to nothing.
        ReplicaSet = "replicaset",
        /// A Job.
        Job = "job",
        /// A CronJob.
        CronJob = "cronjob",
        /// A Service, where the pod behind it is not known.
        Service = "service",
        /// The node itself.
        Node = "node",
        /// An address outside of every private network.
        External = "external",
        /// A private address that no source has a name for.
        Unknown = "unknown",
    }
}

vocabulary! {
    /// What is known of the client's certificate.
    ClientCertificate or Unknown {
        /// Not determinable, or not yet.
        Unknown = "unknown",
        /// The server did not ask.
        NotRequested = "not-requested",
        /// Asked for, and the client answered with an empty list.
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
        /// It was for later.
        NotYetValid = "not-yet-valid",
    }
}
