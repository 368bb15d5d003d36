//! Plots as SVG.

use std::path::Path;

use plotters::prelude::*;

use crate::Result;

/// A named line of points.
pub struct Curve {
    /// What it is of.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// What the axis to the right is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Across {
    /// Sizes, on a logarithmic scale.
    Sizes,
    /// Rounds, one beside the other.
    Rounds,
}

const SIZE: (u32, u32) = (1000, 520);
/// Where the names of the curves begin.
const NAMES_AT: u32 = 690;
const LINE: i32 = 22;
const FONT: &str = "sans-serif";
/// Dark enough on white, and told apart by those who see no red or green.
const COLORS: [RGBColor; 8] = [
    RGBColor(31, 119, 180),
    RGBColor(230, 120, 0),
    RGBColor(0, 130, 90),
    RGBColor(200, 40, 60),
    RGBColor(120, 80, 180),
    RGBColor(110, 70, 50),
    RGBColor(210, 90, 170),
    RGBColor(90, 90, 90),
];

/// Draws the curves over logarithmic heights, their names beside them, the highest first. Nothing where there are no points.
pub fn draw(path: &Path, title: &str, (x, y): (&str, &str), across: Across, curves: &[Curve]) -> Result<()> {
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let bounds = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    };
    let (left, right) = bounds(&mut all().map(|point| point.0));
    let (low, high) = bounds(&mut all().map(|point| point.1));
    if !(left <= right && low > 0.0) {
        return Ok(());
    }
    let mut curves: Vec<&Curve> = curves.iter().filter(|curve| !curve.points.is_empty()).collect();
    let last = |curve: &Curve| curve.points.last().map_or(0.0, |point| point.1);
    curves.sort_by(|one, other| last(other).total_cmp(&last(one)));

    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let area = area.titled(title, (FONT, 20))?;
    let (plot, names) = area.split_horizontally(NAMES_AT);
    let heights = (low / 1.5..high * 1.5).log_scale();
    let mut builder = ChartBuilder::on(&plot);
    builder
        .margin(12)
        .margin_right(24)
        .x_label_area_size(48)
        .y_label_area_size(92);
    // The two kinds of axis are two types.
    macro_rules! fill {
        ($chart:expr, $labels:expr) => {{
            let mut chart = $chart;
            chart
                .configure_mesh()
                .x_desc(x)
                .y_desc(y)
                .x_labels($labels)
                .y_labels(12)
                .x_label_formatter(&|value| grouped(*value))
                .y_label_formatter(&|value| grouped(*value))
                .label_style((FONT, 13))
                .axis_desc_style((FONT, 15))
                .bold_line_style(BLACK.mix(0.15))
                .light_line_style(TRANSPARENT)
                .draw()?;
            for (at, curve) in curves.iter().enumerate() {
                let style = COLORS[at % COLORS.len()].stroke_width(2);
                chart.draw_series(LineSeries::new(curve.points.iter().copied(), style).point_size(4))?;
            }
        }};
    }
    match across {
        Across::Sizes => fill!(
            builder.build_cartesian_2d((left / 1.15..right * 1.15).log_scale(), heights)?,
            6
        ),
        Across::Rounds => {
            let rounds = (right - left) as usize + 1;
            fill!(
                builder.build_cartesian_2d(left - 0.5..right + 0.5, heights)?,
                rounds.min(20)
            );
        }
    }
    for (at, curve) in curves.iter().enumerate() {
        let top = 24 + at as i32 * LINE;
        let color = COLORS[at % COLORS.len()];
        names.draw(&PathElement::new(
            [(4, top + 7), (28, top + 7)],
            color.stroke_width(2),
        ))?;
        names.draw(&Circle::new((16, top + 7), 4, color.filled()))?;
        names.draw(&Text::new(curve.name.as_str(), (36, top), (FONT, 14)))?;
    }
    area.present()?;
    Ok(())
}

/// A whole number with its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_thousands() {
        assert_eq!(
            [1.0, 999.6, 12_345.0, 1e6].map(grouped),
            ["1", "1,000", "12,345", "1,000,000"]
        );
    }

    #[test]
    fn a_plot_names_its_axes_and_curves() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plot.svg");
        let curve = |name: &str, height: f64| Curve {
            name: name.to_owned(),
            points: vec![(1.0, height), (2.0, height * 2.0)],
        };
        for across in [Across::Sizes, Across::Rounds] {
            let curves = [curve("slow", 10.0), curve("fast", 1_000.0)];
            draw(&path, "Title", ("sets", "a second"), across, &curves).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            for part in ["Title", "sets", "a second"] {
                assert!(text.contains(part), "{part}");
            }
            assert!(text.find("fast") < text.find("slow"));
        }
        std::fs::remove_file(&path).unwrap();
        draw(&path, "Title", ("x", "y"), Across::Rounds, &[]).unwrap();
        assert!(!path.exists());
    }
}
