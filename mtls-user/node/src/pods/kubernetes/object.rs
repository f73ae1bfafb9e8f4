//! API objects, reduced to the needed parts while they are parsed.
//!
//! A malformed object is dropped without affecting the list that contains it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::pods::mesh::{self, Scope};

/// A kind of object.
pub(super) trait Kind: Clone + std::fmt::Debug + Send + Sync + 'static {
    const KIND: &'static str;
    const GROUP: &'static str;
    const PLURAL: &'static str;
    /// API versions with this structure, in order of preference.
    const VERSIONS: &'static [&'static str] = &["v1"];
    /// It is a CRD, so it may not exist.
    const IS_CUSTOM: bool = false;
    /// Whether only the metadata is requested.
    const METADATA_ONLY: bool = false;

    /// The needed part; `None` if it cannot be parsed.
    fn read(object: Value) -> Option<Self>;
}

/// An object; `None` if it is malformed.
#[derive(Clone, Debug)]
pub(super) struct Slim<T> {
    meta: ObjectMeta,
    pub(super) body: Option<T>,
}

impl<T> Slim<T> {
    /// `NAMESPACE/NAME`.
    pub(super) fn key(&self) -> String {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        format!("{}/{}", part(&self.meta.namespace), part(&self.meta.name))
    }

    pub(super) fn version(&self) -> Option<&str> {
        self.meta.resource_version.as_deref()
    }
}

impl<'de, T: Kind> Deserialize<'de> for Slim<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let text = |pointer| object.pointer(pointer)?.as_str().map(Into::into);
        let meta = ObjectMeta {
            name: text("/metadata/name"),
            namespace: text("/metadata/namespace"),
            resource_version: text("/metadata/resourceVersion"),
            ..ObjectMeta::default()
        };
        let body = meta.name.is_some().then(|| T::read(object)).flatten();
        Ok(Self { meta, body })
    }
}

impl<T: Kind> Resource for Slim<T> {
    /// The version.
    type DynamicType = &'static str;
    type Scope = NamespaceResourceScope;

    fn kind(_: &&'static str) -> Cow<'static, str> {
        T::KIND.into()
    }

    fn group(_: &&'static str) -> Cow<'static, str> {
        T::GROUP.into()
    }

    fn version(version: &&'static str) -> Cow<'static, str> {
        (*version).into()
    }

    fn plural(_: &&'static str) -> Cow<'static, str> {
        T::PLURAL.into()
    }

    fn metadata_api() -> bool {
        T::METADATA_ONLY
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// The part of the metadata from which names are derived.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) creation_timestamp: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) owner_references: Vec<OwnerReference>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub(super) struct OwnerReference {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) controller: bool,
}

impl Meta {
    /// When it was created, in seconds since the Unix epoch.
    pub(super) fn created(&self) -> Option<u64> {
        let time: jiff::Timestamp = self.creation_timestamp.as_ref()?.parse().ok()?;
        u64::try_from(time.as_second()).ok()
    }
}

/// Mesh settings of a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NamespaceInfo {
    pub(super) name: String,
    pub(super) scope: Scope,
}

impl Kind for NamespaceInfo {
    const KIND: &'static str = "Namespace";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "namespaces";
    const METADATA_ONLY: bool = true;

    fn read(object: Value) -> Option<Self> {
        #[derive(Deserialize)]
        struct Namespace {
            metadata: Meta,
        }
        let Namespace { metadata } = serde_json::from_value(object).ok()?;
        Some(Self {
            name: metadata.name,
            scope: Scope {
                labels: of_meshes(metadata.labels),
                annotations: of_meshes(metadata.annotations),
            },
        })
    }
}

/// Only what a mesh may have written.
pub(super) fn of_meshes(mut all: BTreeMap<String, String>) -> BTreeMap<String, String> {
    const MAX_VALUE: usize = 1_024;
    all.retain(|key, _| mesh::is_mark(key));
    for value in all.values_mut() {
        value.truncate(value.floor_char_boundary(MAX_VALUE));
    }
    all
}
