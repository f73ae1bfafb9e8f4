//! Blocks of output in the documentation: an indented line `$ mtls …` begins one.

use std::collections::BTreeSet;

/// How far blocks are indented.
const INDENT: &str = "    ";

/// A block of a page.
pub struct Block {
    /// The command, without the prompt.
    pub command: String,
    first: usize,
    /// The output that is shown.
    pub lines: Vec<String>,
}

/// The blocks of a page that begin with this prompt.
pub fn blocks(text: &str, prompt: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        if let Some(command) = line.strip_prefix(prompt) {
            blocks.push(Block {
                command: command.trim().to_owned(),
                first: number + 1,
                lines: Vec::new(),
            });
            open = true;
        } else if let (true, Some(line), Some(block)) =
            (open, line.strip_prefix(INDENT), blocks.last_mut())
        {
            block.lines.push(line.to_owned());
        } else {
            open = false;
        }
    }
    blocks
}

/// The page with this block's lines replaced. With several blocks, replace the last one first.
pub fn rewritten(text: &str, block: &Block, printed: &[String]) -> String {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let shown = printed.iter().map(|line| format!("{INDENT}{line}"));
    lines.splice(block.first..block.first + block.lines.len(), shown);
    lines.join("\n") + "\n"
}

/// The output without what differs from run to run: numbers, the units of ages, and the order of
/// lines.
pub fn shapes(lines: &[String]) -> BTreeSet<String> {
    lines.iter().map(|line| shape(line)).collect()
}

/// A line with each number as `#`, each age in seconds and each run of spaces as one.
fn shape(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let mut shape = String::new();
        let mut in_number = false;
        for c in word.chars() {
            if c.is_ascii_digit() {
                if !in_number {
                    shape.push('#');
                }
                in_number = true;
            } else {
                shape.push(c);
                in_number = false;
            }
        }
        // `8s`, `1m10s`.
        let age = shape.trim_end_matches([',', ':', ';']);
        let is_age = age.len() > 1
            && age.starts_with('#')
            && age.trim_matches(['#', 'h', 'm', 's']).is_empty();
        if is_age {
            shape.replacen(age, "#s", 1)
        } else {
            shape
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
