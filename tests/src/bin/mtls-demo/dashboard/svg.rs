//! Pieces of SVG.

/// Text with what XML reserves escaped.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

/// A line of text that begins at a point, in a class of the style sheet.
pub(super) fn text(x: u32, y: u32, class: &str, text: &str) -> String {
    let text = escaped(text);
    format!("<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{text}</text>\n")
}

/// A rectangle of a colour.
pub(super) fn bar(x: u32, y: u32, width: u32, height: u32, color: &str) -> String {
    format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{color}\"/>\n")
}
