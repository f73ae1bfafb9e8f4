//! Container images: one layer, made from a list of files, reproducibly.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// The contents of an image, by path without a leading slash.
pub(crate) type Files = BTreeMap<String, Content>;

/// A file of an image.
pub(crate) enum Content {
    /// A program or a library.
    Program(Vec<u8>),
    /// Anything else.
    Text(Vec<u8>),
    /// A symbolic link.
    Link(String),
    /// An empty directory; sticky and writable by everybody, like `/tmp`.
    Tmp,
}

/// An image.
pub(crate) struct Image<'a> {
    /// Its name in the archive: `localhost/mtls:0.1.0`.
    pub(crate) name: &'a str,
    /// Its architecture in Go's terms: `amd64`.
    pub(crate) architecture: &'a str,
    /// The `config` part of the image's configuration: command, labels.
    pub(crate) config: Value,
    pub(crate) files: &'a Files,
}

impl Image<'_> {
    /// Writes an archive that contains the image both in OCI layout and in the format of `docker
    /// load`; returns the compressed size of its layer in bytes.
    pub(crate) fn write(&self, archive: &Path) -> anyhow::Result<usize> {
        let layer = tar_of(self.files)?;
        let mut compressed = GzEncoder::new(Vec::new(), Compression::best());
        compressed.write_all(&layer)?;
        let compressed = compressed.finish()?;
        let config = json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image"}],
        })
        .to_string()
        .into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &compressed)],
            "annotations": self.config["Labels"],
        })
        .to_string()
        .into_bytes();
        let mut listed = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        listed["platform"] = json!({"architecture": self.architecture, "os": "linux"});
        listed["annotations"] = json!({
            // The image name for containerd and others.
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": self.name.rsplit(':').next(),
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [listed],
        });
        let blob = |bytes: &[u8]| format!("blobs/{}", digest(bytes).replace(':', "/"));
        let docker = json!([{"Config": blob(&config), "RepoTags": [self.name],
            "Layers": [blob(&compressed)]}]);
        let size = compressed.len();
        let files = Files::from([
            (
                "oci-layout".into(),
                text(&json!({"imageLayoutVersion": "1.0.0"})),
            ),
            ("index.json".into(), text(&index)),
            ("manifest.json".into(), text(&docker)),
            (blob(&config), Content::Text(config)),
            (blob(&manifest), Content::Text(manifest)),
            (blob(&compressed), Content::Text(compressed)),
        ]);
        let out = File::create(archive).with_context(|| format!("make {}", archive.display()))?;
        let mut out = BufWriter::new(out);
        out.write_all(&tar_of(&files)?)?;
        out.flush()
            .with_context(|| format!("write {}", archive.display()))?;
        Ok(size)
    }
}

/// A directory's files as an archive that does not depend on who created it and when.
pub(crate) fn tar_of(files: &Files) -> anyhow::Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    let mut dirs = std::collections::BTreeSet::new();
    for (path, content) in files {
        for (at, _) in path.match_indices('/') {
            if dirs.insert(path[..at].to_owned()) {
                append(&mut tar, &path[..at], EntryType::Directory, 0o755, &[])?;
            }
        }
        match content {
            Content::Program(bytes) => append(&mut tar, path, EntryType::Regular, 0o755, bytes)?,
            Content::Text(bytes) => append(&mut tar, path, EntryType::Regular, 0o644, bytes)?,
            Content::Tmp => append(&mut tar, path, EntryType::Directory, 0o1777, &[])?,
            Content::Link(to) => {
                let mut header = header(EntryType::Symlink, 0o777, 0);
                tar.append_link(&mut header, path, to)?;
            }
        }
    }
    Ok(tar.into_inner()?)
}

fn append(
    tar: &mut Builder<Vec<u8>>,
    path: &str,
    kind: EntryType,
    mode: u32,
    bytes: &[u8],
) -> anyhow::Result<()> {
    let mut header = header(kind, mode, bytes.len() as u64);
    tar.append_data(&mut header, path, bytes)
        .with_context(|| format!("pack {path}"))
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn text(value: &Value) -> Content {
    Content::Text(value.to_string().into_bytes())
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()})
}

/// A digest in OCI notation.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

/// The SHA-256 of some bytes, as `sha256sum` writes it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    sum.iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Reads all files of a directory.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_the_same_bytes_each_time_and_its_digests_hold() {
        let files = Files::from([
            ("mtls".into(), Content::Program(b"program".to_vec())),
            ("licences/MIT".into(), Content::Text(b"text".to_vec())),
        ]);
        let dir = std::env::temp_dir().join(format!("oci-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let image = Image {
            name: "localhost/mtls:1",
            architecture: "amd64",
            config: json!({"Labels": {"a": "b"}}),
            files: &files,
        };
        let made: Vec<_> = ["one", "two"]
            .iter()
            .map(|name| {
                image.write(&dir.join(name)).unwrap();
                fs::read(dir.join(name)).unwrap()
            })
            .collect();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(made[0], made[1]);
        let mut blobs = 0;
        for entry in tar::Archive::new(&*made[0]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            if let Some(name) = path.strip_prefix("blobs/sha256/").filter(|n| !n.is_empty()) {
                assert_eq!(name, hex(&bytes));
                blobs += 1;
            }
        }
        assert_eq!(blobs, 3);
    }
}
