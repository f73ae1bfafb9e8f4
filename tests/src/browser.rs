//! A real headless Chromium, controlled by the DevTools protocol over a pipe.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

/// Timeout of any action.
const PATIENCE: Duration = Duration::from_mins(1);

/// A page in a browser; both end when this is dropped.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: Option<String>,
    sent: u64,
    events: Vec<Value>,
    _profile: Profile,
}

/// The browser's profile directory, removed with it.
struct Profile(std::path::PathBuf);

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The rendering mode of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// On a light screen.
    Light,
    /// On a dark one.
    Dark,
    /// For printing.
    Print,
}

impl Browser {
    /// Starts a browser with an empty page of 1280 by 900 CSS pixels.
    pub fn start() -> Result<Self> {
        let profile = format!(
            "mtls-browser-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let profile = Profile(std::env::temp_dir().join(profile));
        std::fs::create_dir_all(&profile.0)?;
        // It reads from descriptor 3 and writes to 4. The shell, instead of `pre_exec`, sets up the
        // pipes.
        let line = "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
             --no-first-run --disable-background-networking --disable-component-update \
             --disable-extensions --remote-debugging-pipe --user-data-dir=\"$0\" about:blank \
             3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut child = Command::new("sh")
            .args(["-c", line])
            .arg(&profile.0)
            .env("HOME", &profile.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start chromium")?;
        let to = child.stdin.take().context("a pipe")?;
        let answers = child.stdout.take().context("a pipe")?;
        let (sender, from) = mpsc::channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0) {
                let Ok(message) = message else { return };
                let Ok(message) = serde_json::from_slice(&message) else {
                    continue;
                };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            to,
            from,
            session: None,
            sent: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let page = browser.call("Target.createTarget", &json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach)?;
        browser.session = Some(attached["sessionId"].as_str().context("a session")?.into());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}))?;
        }
        let size = json!({"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        browser.call("Emulation.setDeviceMetricsOverride", &size)?;
        Ok(browser)
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.to.write_all(message.to_string().as_bytes())?;
        self.to.write_all(&[0])?;
        self.to.flush()?;
        let end = Instant::now() + PATIENCE;
        loop {
            let mut answer = self
                .next(end)
                .with_context(|| format!("no answer to {method}"))?;
            if answer["id"] == self.sent {
                ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].take());
            }
            self.events.push(answer);
        }
    }

    fn next(&mut self, end: Instant) -> Result<Value> {
        let left = end.saturating_duration_since(Instant::now());
        match self.from.recv_timeout(left) {
            Ok(message) => Ok(message),
            Err(RecvTimeoutError::Timeout) => bail!("chromium is silent"),
            Err(RecvTimeoutError::Disconnected) => bail!("chromium has ended"),
        }
    }

    /// Opens an address, and waits until the page has loaded.
    pub fn open(&mut self, address: &str) -> Result<()> {
        self.events.clear();
        let opened = self.call("Page.navigate", &json!({"url": address}))?;
        ensure!(
            opened["errorText"].is_null(),
            "{address}: {}",
            opened["errorText"]
        );
        let end = Instant::now() + PATIENCE;
        while !self
            .events
            .iter()
            .any(|event| event["method"] == "Page.loadEventFired")
        {
            let event = self
                .next(end)
                .with_context(|| format!("{address} is not loaded"))?;
            self.events.push(event);
        }
        Ok(())
    }

    /// Opens a file.
    pub fn open_file(&mut self, path: &Path) -> Result<()> {
        self.open(&format!("file://{}", path.canonicalize()?.display()))
    }

    /// The value of a JavaScript expression; of a promise, its result.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let params = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
            "userGesture": true,
        });
        let mut answer = self.call("Runtime.evaluate", &params)?;
        let wrong = &answer["exceptionDetails"];
        ensure!(wrong.is_null(), "{expression}: {wrong}");
        Ok(answer["result"]["value"].take())
    }

    /// Waits until an expression is true.
    pub fn wait(&mut self, expression: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.evaluate(&format!("Boolean({expression})"))? != true {
            if Instant::now() > end {
                let text = self.evaluate("document.body.innerText")?;
                bail!("never true: {expression}\n{text}\n{:?}", self.complaints()?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Changes the rendering mode.
    pub fn look(&mut self, look: Look) -> Result<()> {
        let (media, scheme) = match look {
            Look::Light => ("screen", "light"),
            Look::Dark => ("screen", "dark"),
            Look::Print => ("print", "light"),
        };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let params = json!({"media": media, "features": features});
        self.call("Emulation.setEmulatedMedia", &params)?;
        Ok(())
    }

    /// Types into the focused field.
    pub fn write(&mut self, text: &str) -> Result<()> {
        self.call("Input.insertText", &json!({"text": text}))?;
        Ok(())
    }

    /// Clicks the centre of the first element that matches a selector.
    pub fn click(&mut self, selector: &str) -> Result<()> {
        let place = self.evaluate(&format!(
            "(() => {{ const it = document.querySelector({}); if (!it) return null; \
             it.scrollIntoView({{block: 'center'}}); const box = it.getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(selector)
        ))?;
        ensure!(place.is_array(), "there is no {selector}");
        for kind in ["mousePressed", "mouseReleased"] {
            let click = json!({
                "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", &click)?;
        }
        Ok(())
    }

    /// Errors and warnings from the console, from scripts and from requests of the page.
    pub fn complaints(&mut self) -> Result<Vec<String>> {
        // When this is answered, all earlier messages have arrived.
        self.evaluate("1")?;
        let bad = self.events.iter().filter(|event| {
            let params = &event["params"];
            let level = params["entry"]["level"]
                .as_str()
                .or(params["type"].as_str());
            match event["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Log.entryAdded" | "Runtime.consoleAPICalled") => {
                    matches!(level, Some("error" | "warning"))
                }
                _ => false,
            }
        });
        Ok(bad.map(|event| event["params"].to_string()).collect())
    }

    /// The addresses that the page has requested, including its own.
    pub fn requests(&self) -> Vec<String> {
        let requests = self
            .events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        let urls = requests.filter_map(|event| event["params"]["request"]["url"].as_str());
        urls.map(str::to_owned).collect()
    }

    /// Text with less contrast than WCAG 2.2 (1.4.3, level AA) requires, tables without headers,
    /// and images without a name.
    pub fn obstacles(&mut self) -> Result<Vec<String>> {
        let found = self.evaluate(include_str!("obstacles.js"))?;
        let found = found.as_array().context("a list")?;
        Ok(found
            .iter()
            .filter_map(|one| Some(one.as_str()?.to_owned()))
            .collect())
    }

    /// Writes the whole page as a PNG file to the directory in `MTLS_SCREENSHOTS`, if it is set.
    pub fn screenshot(&mut self, name: &str) -> Result<()> {
        let params = json!({"format": "png", "captureBeyondViewport": true});
        let shot = self.call("Page.captureScreenshot", &params)?;
        let png = decoded(&shot)?;
        ensure!(png.starts_with(b"\x89PNG"), "no picture");
        keep(&format!("{name}.png"), &png)
    }

    /// The page as PDF.
    pub fn pdf(&mut self, name: &str) -> Result<Vec<u8>> {
        let params = json!({"printBackground": true, "preferCSSPageSize": true});
        let printed = self.call("Page.printToPDF", &params)?;
        let pdf = decoded(&printed)?;
        keep(&format!("{name}.pdf"), &pdf)?;
        Ok(pdf)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.call("Browser.close", &json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn decoded(answer: &Value) -> Result<Vec<u8>> {
    let data = answer["data"].as_str().context("data")?;
    Ok(BASE64_STANDARD.decode(data)?)
}

fn keep(name: &str, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = std::env::var_os("MTLS_SCREENSHOTS") {
        std::fs::create_dir_all(&folder)?;
        std::fs::write(Path::new(&folder).join(name), bytes)?;
    }
    Ok(())
}
