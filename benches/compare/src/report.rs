//! Figures and what they should be.

use std::fmt;

/// One measured target.
pub struct Line {
    /// The number of the row of the table; empty outside of it.
    pub row: &'static str,
    /// What was measured.
    pub name: String,
    /// The figure.
    pub figure: f64,
    /// What it should be.
    pub target: Target,
    /// The absolute figures behind it.
    pub medians: String,
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Target {
    /// At least so many times.
    AtLeast(f64),
    /// At most so many times.
    AtMost(f64),
    /// At most so many milliseconds.
    Millis(f64),
    /// At most so many microseconds.
    Micros(f64),
    /// None: a ratio, shown for what it is.
    Shown,
    /// None: milliseconds, shown for what they are.
    ShownMillis,
}

impl Line {
    /// Whether the figure is as it should be; `None` where nothing says how.
    pub fn met(&self) -> Option<bool> {
        match self.target {
            Target::AtLeast(least) => Some(self.figure >= least),
            Target::AtMost(most) | Target::Millis(most) | Target::Micros(most) => Some(self.figure <= most),
            Target::Shown | Target::ShownMillis => None,
        }
    }

    /// With two digits behind the point, or with three where two would show what misses its target as if it met it.
    fn shown_figure(&self) -> String {
        let unit = match self.target {
            Target::Millis(_) | Target::ShownMillis => " ms",
            Target::Micros(_) => " µs",
            _ => "×",
        };
        let two = format!("{:.2}", self.figure);
        match (self.met(), self.target.bound()) {
            (Some(false), Some(bound)) if two == format!("{bound:.2}") => format!("{:.3}{unit}", self.figure),
            _ => two + unit,
        }
    }
}

impl Target {
    fn bound(self) -> Option<f64> {
        match self {
            Target::AtLeast(bound)
            | Target::AtMost(bound)
            | Target::Millis(bound)
            | Target::Micros(bound) => Some(bound),
            Target::Shown | Target::ShownMillis => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::AtLeast(least) => write!(f, "≥ {least}×"),
            Target::AtMost(most) => write!(f, "≤ {most}×"),
            Target::Millis(most) => write!(f, "≤ {most} ms"),
            Target::Micros(most) => write!(f, "≤ {most} µs"),
            Target::Shown | Target::ShownMillis => f.write_str("–"),
        }
    }
}

/// Whether a target is met, as tables show it.
pub fn shown_met(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "–",
    }
}

/// The lines as a Markdown table.
pub fn markdown(lines: &[Line]) -> String {
    let mut text =
        "| # | measured | target | figure | met | medians |\n|---|---|---|---|---|---|\n".to_owned();
    for line in lines {
        text += &format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            line.row,
            line.name,
            line.target,
            line.shown_figure(),
            shown_met(line.met()),
            line.medians
        );
    }
    text
}

/// The lines as JSON: a list of `{row, name, ratio, target, met, figure, medians}`, where `figure` is the ratio as tables show it.
pub fn json(lines: &[Line]) -> serde_json::Value {
    let line = |line: &Line| {
        serde_json::json!({
            "row": line.row,
            "name": line.name,
            "ratio": (line.figure * 1e4).round() / 1e4,
            "target": line.target.to_string(),
            "met": line.met(),
            "figure": line.shown_figure(),
            "medians": line.medians,
        })
    };
    serde_json::Value::Array(lines.iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(figure: f64, target: Target) -> Line {
        Line {
            row: "1",
            name: "what".to_owned(),
            figure,
            target,
            medians: String::new(),
        }
    }

    #[test]
    fn a_target_is_met_from_its_own_side() {
        assert_eq!(line(3.0, Target::AtLeast(3.0)).met(), Some(true));
        assert_eq!(line(2.9, Target::AtLeast(3.0)).met(), Some(false));
        assert_eq!(line(2.9, Target::AtMost(3.0)).met(), Some(true));
        assert_eq!(line(3.1, Target::Millis(3.0)).met(), Some(false));
        assert_eq!(line(f64::NAN, Target::AtLeast(3.0)).met(), Some(false));
        assert_eq!(line(1.0, Target::Shown).met(), None);
        let json = json(&[line(0.123_456, Target::Shown)]);
        assert_eq!(json[0]["ratio"], 0.1235);
        assert_eq!(json[0]["figure"], "0.12×");
        assert_eq!(json[0]["met"], serde_json::Value::Null);
    }

    #[test]
    fn what_misses_its_target_by_little_is_not_shown_as_the_target() {
        assert_eq!(line(1.198, Target::AtLeast(1.2)).shown_figure(), "1.198×");
        assert_eq!(line(1.202, Target::AtLeast(1.2)).shown_figure(), "1.20×");
        assert_eq!(line(5.004, Target::Millis(5.0)).shown_figure(), "5.004 ms");
        assert_eq!(line(1.1, Target::AtLeast(1.2)).shown_figure(), "1.10×");
    }
}
