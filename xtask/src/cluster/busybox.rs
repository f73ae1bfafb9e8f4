//! The image of the tests' pods: busybox, and programs that it does not replace.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::json;

use crate::image::{Arch, linked};
use crate::oci::{Content, Files, Image, read};

const NAME: &str = "localhost/busybox:1";
/// wget in Debian's static busybox crashes, so curl is included too.
const PROGRAMS: [&str; 7] = [
    "/usr/bin/curl",
    "/usr/bin/openssl",
    "/usr/bin/gtlsclient",
    "/usr/sbin/gtlsserver",
    "/usr/sbin/dnsmasq",
    "/usr/bin/wireguard-go",
    "/usr/bin/wg",
];

/// Creates the image, which is also used as the pause image.
pub(super) fn image(archive: &Path) -> anyhow::Result<()> {
    let mut files = Files::new();
    let busybox = Path::new("/bin/busybox");
    files.insert("bin/busybox".into(), Content::Program(read(busybox)?));
    let listed = Command::new(busybox).arg("--list").output();
    let listed = listed.context("start busybox")?.stdout;
    for applet in String::from_utf8_lossy(&listed).lines() {
        if applet != "busybox" {
            files.insert(format!("bin/{applet}"), Content::Link("busybox".into()));
        }
    }
    for program in PROGRAMS {
        let program = Path::new(program);
        let name = program.file_name().context("a program without a name")?;
        let name = format!("bin/{}", name.display());
        linked::add(&mut files, &name, program)?;
    }
    let text = |text: &str| Content::Text(text.as_bytes().to_vec());
    files.insert("etc/passwd".into(), text("root:x:0:0:root:/:/bin/sh\n"));
    files.insert("www/index.html".into(), text("hello\n"));
    files.insert("tmp".into(), Content::Tmp);
    let config = json!({"Env": ["PATH=/bin"], "Entrypoint": ["/bin/sleep"], "Cmd": ["2147483647"]});
    let image = Image {
        name: NAME,
        architecture: Arch::native()?.as_str(),
        config,
        files: &files,
    };
    image.write(archive)?;
    Ok(())
}
