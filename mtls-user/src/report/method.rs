//! How it is known, and how often that was right: from the documentation itself, so that no number is
//! copied.

/// Written by `cargo xtask accuracy`.
const ACCURACY: &str = include_str!("../../../docs/accuracy.md");
const README: &str = include_str!("../../../README.md");

/// A row of the table of what was measured.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Measured {
    pub(super) what: String,
    /// Flows, right, undecided, wrong.
    pub(super) counts: Vec<String>,
}

/// What `cargo xtask accuracy` found in all, and the line on the worst errors.
pub(super) fn measured() -> (Vec<Measured>, String) {
    let lines: Vec<_> = section(ACCURACY, "## In all").collect();
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim_matches('|');
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let table = lines.iter().filter(|line| line.starts_with('|')).skip(2);
    let rows = table.map(|line| {
        let mut cells = cells(line);
        Measured {
            what: cells.remove(0),
            counts: cells,
        }
    });
    let worst = lines.iter().filter(|line| !line.starts_with('|'));
    let worst: Vec<_> = worst.filter(|line| !line.is_empty()).copied().collect();
    (rows.collect(), plain(&worst.join(" ")))
}

/// What is never seen, whatever is watched: the list of the README.
pub(super) fn limits() -> Vec<String> {
    let mut limits = Vec::<String>::new();
    for line in section(README, "## What it cannot see") {
        if let Some(first) = line.strip_prefix("- ") {
            limits.push(first.to_owned());
        } else if let (Some(last), false) = (limits.last_mut(), line.is_empty()) {
            last.push(' ');
            last.push_str(line.trim());
        }
    }
    limits.iter().map(|limit| plain(limit)).collect()
}

fn section<'a>(text: &'a str, title: &str) -> impl Iterator<Item = &'a str> {
    let lines = text.lines().skip_while(move |line| *line != title).skip(1);
    lines.take_while(|line| !line.starts_with("## "))
}

/// Without Markdown's marks.
fn plain(text: &str) -> String {
    text.replace(['`', '*'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_rate_is_that_of_the_documentation() {
        let (rows, worst) = measured();
        assert!(rows.len() >= 3, "{rows:?}");
        for row in &rows {
            assert_eq!(row.counts.len(), 4, "{row:?}");
            let number = |at: usize| row.counts[at].parse::<u64>().unwrap_or_default();
            assert!(number(0) > 0, "{row:?}");
            assert_eq!(number(0), number(1) + number(2) + number(3), "{row:?}");
            assert!(ACCURACY.contains(&format!("| {} | {} |", row.what, row.counts[0])));
        }
        assert!(worst.contains("Called mtls and is not"), "{worst}");
    }

    #[test]
    fn what_is_never_seen_is_what_the_readme_says() {
        let limits = limits();
        assert!(limits.len() > 5, "{limits:?}");
        for limit in limits {
            assert!(limit.ends_with('.') && limit.len() > 20, "{limit}");
        }
    }
}
