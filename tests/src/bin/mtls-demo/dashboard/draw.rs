//! The panels, laid out as Grafana lays them out: 24 columns, each panel of its kind.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use plotters::prelude::*;
use serde_json::Value;

use super::Answer;
use super::svg::{bar, escaped, text};

/// Pixels of a column and of a row.
const COLUMN: u32 = 50;
const ROW: u32 = 30;
/// Most lines of a table or a legend.
const LINES: usize = 6;
/// Colours of series, which can be told apart without red and green.
const COLORS: [(u8, u8, u8); 6] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (148, 103, 9),
    (86, 86, 86),
];
const STYLE: &str = "<style>text{font-family:sans-serif;font-size:12px;fill:#1f2328}\
    .title{font-weight:bold;font-size:13px}.big{font-size:34px;font-weight:bold}\
    .head{fill:#57606a}</style>";

type Panel<'a> = (&'a Value, Vec<Answer>);

/// The whole dashboard.
pub(super) fn dashboard(panels: &[Panel<'_>], now: u64) -> Result<String> {
    let mut out = String::new();
    let mut bottom = 0;
    for (panel, answers) in panels {
        let place = |name: &str| -> Result<u32> {
            let n = panel["gridPos"][name].as_u64().context("a place")?;
            Ok(u32::try_from(n)?)
        };
        let (x, y) = (place("x")? * COLUMN, place("y")? * ROW);
        let (width, height) = (place("w")? * COLUMN - 8, place("h")? * ROW - 8);
        bottom = bottom.max(y + height + 8);
        let title = panel["title"].as_str().context("a title")?;
        let inner = match panel["type"].as_str().context("a type")? {
            "stat" => stat(panel, answers),
            "table" => table(panel, answers, width, now),
            "bargauge" => bars(answers, width),
            "timeseries" => lines(panel, answers, width, height, now)?,
            other => bail!("no way to draw a panel of type {other}"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "<svg x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\">\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\" stroke=\"#d0d7de\"/>{}{inner}</svg>",
            text(10, 20, "title", title)
        );
    }
    let width = 24 * COLUMN;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {bottom}\" role=\"img\" \
         aria-label=\"The panels of the Grafana dashboard\">{STYLE}\
         <rect width=\"100%\" height=\"100%\" fill=\"#f6f8fa\"/>\n{out}</svg>\n"
    ))
}

/// The number of a sample of an answer.
fn value(sample: &Value) -> f64 {
    let text = sample["value"][1].as_str().unwrap_or_default();
    text.parse().unwrap_or(f64::NAN)
}

/// `{{name}}` in a legend is the label of that name.
fn named(legend: &str, sample: &Value) -> String {
    let labels = sample["metric"].as_object();
    labels
        .into_iter()
        .flatten()
        .fold(legend.to_owned(), |text, (name, value)| {
            text.replace(
                &format!("{{{{{name}}}}}"),
                value.as_str().unwrap_or_default(),
            )
        })
}

/// A number in a panel's unit.
fn in_unit(panel: &Value, value: f64, now: u64) -> String {
    match panel["fieldConfig"]["defaults"]["unit"].as_str() {
        Some("percentunit") => format!("{:.1}%", value * 100.0),
        Some("bytes") => format!("{:.0} MiB", value / f64::from(1 << 20)),
        Some("s") => format!("{:.1} µs", value * 1e6),
        Some("d") => format!("{value:.0} days"),
        Some("cps") => format!("{value:.1}/s"),
        Some("dateTimeFromNow") => format!("{:.0} s ago", (now as f64 - value / 1e3).max(0.0)),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.3}"),
    }
}

/// The colour that the panel's thresholds give to a number.
fn by_threshold(panel: &Value, value: f64) -> &str {
    let steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array();
    let steps = steps.into_iter().flatten();
    let mut steps = steps.rev();
    let reached = steps.find(|step| step["value"].as_f64().is_none_or(|least| value >= least));
    match reached.and_then(|step| step["color"].as_str()) {
        Some("red") => "#c4271b",
        Some("orange") => "#9a6700",
        Some("green") => "#1a7f37",
        _ => "#1f2328",
    }
}

fn stat(panel: &Value, answers: &[Answer]) -> String {
    let mut out = String::new();
    let mut x = 10;
    for answer in answers {
        let Some(sample) = answer.now.first() else {
            out += &text(x, 60, "head", "no data");
            continue;
        };
        let color = by_threshold(panel, value(sample));
        let _ = writeln!(
            out,
            "<text x=\"{x}\" y=\"75\" class=\"big\" style=\"fill:{color}\">{}</text>",
            escaped(&in_unit(panel, value(sample), 0))
        );
        out += &text(x, 105, "head", &named(&answer.legend, sample));
        x += 140;
    }
    out
}

fn table(panel: &Value, answers: &[Answer], width: u32, now: u64) -> String {
    let samples: Vec<_> = answers.iter().flat_map(|answer| &answer.now).collect();
    let options = &panel["transformations"][0]["options"];
    let place = |name: &str| options["indexByName"][name].as_u64().unwrap_or(u64::MAX);
    let names: std::collections::BTreeSet<(u64, &String)> = samples
        .iter()
        .filter_map(|sample| sample["metric"].as_object())
        .flat_map(|labels| labels.keys())
        .map(|name| (place(name), name))
        .collect();
    let step = width / (names.len() as u32 + 1).max(1);
    let mut out = String::new();
    for (at, (_, name)) in names.iter().enumerate() {
        out += &text(10 + at as u32 * step, 45, "head", name);
    }
    let value_name = &options["renameByName"]["Value"];
    let value_x = 10 + names.len() as u32 * step;
    out += &text(value_x, 45, "head", value_name.as_str().unwrap_or("value"));
    for (row, sample) in samples.iter().take(LINES).enumerate() {
        let y = 68 + row as u32 * 22;
        for (at, (_, name)) in names.iter().enumerate() {
            let label = sample["metric"][name.as_str()].as_str().unwrap_or_default();
            out += &text(10 + at as u32 * step, y, "", label);
        }
        out += &text(value_x, y, "", &in_unit(panel, value(sample), now));
    }
    out
}

fn bars(answers: &[Answer], width: u32) -> String {
    let all = answers.iter().flat_map(|answer| {
        let rows = answer.now.iter();
        rows.map(|sample| (named(&answer.legend, sample), value(sample)))
    });
    let rows: Vec<_> = all.collect();
    let most = rows.iter().map(|(_, n)| *n).fold(1.0, f64::max);
    let mut out = String::new();
    for (row, (name, n)) in rows.iter().take(LINES).enumerate() {
        let y = 50 + row as u32 * 30;
        let room = f64::from(width.saturating_sub(170));
        out += &text(10, y, "", name);
        out += &bar(90, y - 12, (room * n / most) as u32, 16, "#0072b2");
        out += &text(100 + (room * n / most) as u32, y, "", &format!("{n}"));
    }
    out
}

fn lines(panel: &Value, answers: &[Answer], width: u32, height: u32, now: u64) -> Result<String> {
    let mut series = Vec::new();
    for answer in answers {
        for line in &answer.lately {
            let points = line["values"].as_array().context("a matrix")?.iter();
            let points = points.filter_map(|point| {
                let value: f64 = point[1].as_str()?.parse().ok()?;
                // Seconds before now.
                let time = point[0].as_f64()? - now as f64;
                value.is_finite().then_some((time, value))
            });
            series.push((named(&answer.legend, line), points.collect::<Vec<_>>()));
        }
    }
    let legend = series.len().min(LINES).div_ceil(2) as u32 * 16;
    let size = (width - 16, height.saturating_sub(34 + legend));
    let most = series.iter().flat_map(|(_, points)| points);
    let most = most.map(|(_, value)| *value).fold(0.0, f64::max);
    let most = panel["fieldConfig"]["defaults"]["max"]
        .as_f64()
        .unwrap_or(if most > 0.0 { most * 1.15 } else { 1.0 });
    let mut chart_svg = String::new();
    {
        let area = SVGBackend::with_string(&mut chart_svg, size).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(6)
            .x_label_area_size(20)
            .y_label_area_size(58)
            .build_cartesian_2d(-60.0..0.0, 0.0..most)?;
        let y_label = |value: &f64| in_unit(panel, *value, now);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(5)
            .y_labels(4)
            .x_label_formatter(&|seconds: &f64| format!("{seconds:.0} s"))
            .y_label_formatter(&y_label)
            .draw()?;
        for (at, (_, points)) in series.iter().enumerate() {
            let (red, green, blue) = COLORS[at % COLORS.len()];
            let style = RGBColor(red, green, blue).stroke_width(2);
            chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        }
        area.present()?;
    }
    let mut out = chart_svg.replacen("<svg ", "<svg x=\"8\" y=\"28\" ", 1);
    for (at, (name, _)) in series.iter().take(LINES).enumerate() {
        let (red, green, blue) = COLORS[at % COLORS.len()];
        let x = 14 + at as u32 % 2 * (width / 2);
        let y = height - legend + at as u32 / 2 * 16 + 4;
        out += &bar(x, y - 8, 12, 4, &format!("rgb({red},{green},{blue})"));
        let short: String = name.chars().take((width / 2 / 7) as usize).collect();
        out += &text(x + 18, y, "", &short);
    }
    if series.is_empty() {
        out += &text(90, 60, "head", "no data");
    }
    Ok(out)
}
