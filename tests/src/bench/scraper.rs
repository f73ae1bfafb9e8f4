//! Somebody who reads the daemon's metrics every second, as Prometheus does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::http;
use crate::prometheus::METRICS;

const EACH: Duration = Duration::from_secs(1);

pub(super) struct Scraper {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32>>,
}

impl Scraper {
    pub(super) fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let over = Arc::clone(&over);
            move || {
                let mut scrapes = 0;
                while !over.load(Ordering::Relaxed) {
                    let page = http::get(METRICS, "/metrics", &[]).context("scrape")?;
                    ensure!(page.contains("mtls_build_info"), "not our metrics: {page}");
                    scrapes += 1;
                    thread::sleep(EACH);
                }
                Ok(scrapes)
            }
        });
        Self { over, thread }
    }

    /// Ends it; an error if a scrape failed.
    pub(super) fn stop(self) -> Result<()> {
        self.over.store(true, Ordering::Relaxed);
        let scrapes = self
            .thread
            .join()
            .map_err(|_| anyhow!("the scraper panicked"))??;
        ensure!(scrapes > 0, "nothing was scraped");
        Ok(())
    }
}
