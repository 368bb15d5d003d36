//! Figures and what they should be.

use std::fmt;

/// One measured target.
pub struct Line {
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
    /// None: shown for what it is.
    Shown,
}

impl Line {
    /// Whether the figure is as it should be; `None` where nothing says how.
    pub fn met(&self) -> Option<bool> {
        match self.target {
            Target::AtLeast(least) => Some(self.figure >= least),
            Target::AtMost(most) | Target::Millis(most) => Some(self.figure <= most),
            Target::Shown => None,
        }
    }

    fn shown_figure(&self) -> String {
        match self.target {
            Target::Millis(_) => format!("{:.2} ms", self.figure),
            _ => format!("{:.2}×", self.figure),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::AtLeast(least) => write!(f, "≥ {least}×"),
            Target::AtMost(most) => write!(f, "≤ {most}×"),
            Target::Millis(most) => write!(f, "≤ {most} ms"),
            Target::Shown => f.write_str("–"),
        }
    }
}

/// The lines as a Markdown table.
pub fn markdown(lines: &[Line]) -> String {
    let mut text = "| measured | target | figure | met | medians |\n|---|---|---|---|---|\n".to_owned();
    for line in lines {
        let met = match line.met() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        text += &format!(
            "| {} | {} | {} | {met} | {} |\n",
            line.name,
            line.target,
            line.shown_figure(),
            line.medians
        );
    }
    text
}
