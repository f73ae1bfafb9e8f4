//! The record: all machine-readable output of `mtls`, typed once.
//!
//! These types are the JSON of `mtls classify`, of the daemon's socket and of every verb
//! ([`SCHEMA`]; `docs/schema.md` explains them, `docs/schema.json` is generated from them). The
//! program writes the vocabularies' enums and reads [`Word`]s of them, so that an old client can
//! read a new daemon.

mod cause;
mod change;
mod content;
mod edge;
mod explain;
mod flow;
mod gate;
pub mod identities;
mod inventory;
mod join;
mod join_flows;
mod list;
mod nullable;
mod peer;
mod sample;
mod status;
mod tap;
mod time;
mod vouch;
mod word;
mod words;

pub use cause::Cause;
pub use change::{Change, EdgeChange};
pub use content::{CertificateInfo, HttpInfo, TlsInfo};
pub use edge::{Coverage, EdgeKey, EdgeRecord, Span, Tally, severity};
pub use explain::Explanation;
pub use flow::{Bytes, Ends, Exemption, Expectation, FlowRecord, Mismatch};
pub use gate::{Finding, Gate, GateFinding, GateReport, Level};
pub use inventory::{
    Aspect, Below, CertificateList, CertificateSeen, Inventory, InventoryItem, NotVisible,
    PostQuantum, Shown,
};
pub use join::{Joiner, join};
pub use join_flows::join_flows;
pub use list::{
    CaptureList, EdgeList, FlowList, History, List, Nodes, NotLookedAt, SilentNode, Watched,
};
pub use peer::{Peer, Workload};
pub use sample::{Recorded, Sample};
pub use status::{
    Check, CheckState, Declared, EdgeStats, EngineStats, FlowStats, Interface, KernelStatus,
    LatencySummary, NamespaceCoverage, NotAttached, PodCoverage, ProcessStats, ProgramStats,
    RingStats, SourceHealth, Status, UnwatchedPod, Uplink,
};
pub use tap::{Missed, TapLine};
pub use time::Time;
pub use word::{Vocabulary, Word};
pub use words::{
    ClientCertificate, Event, Evidence, Exempt, Expected, Kind, Loss, Mark, Origin, Outcome,
    Reporter, Side, Transport, Unmet, Unseen, Validity, Verdict,
};

/// Version of the JSON schema; incremented when a field changes its meaning or is removed.
pub const SCHEMA: u32 = 2;
