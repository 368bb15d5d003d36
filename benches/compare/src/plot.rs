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

/// Draws the curves over logarithmic heights; `log_x` makes the other axis logarithmic too.
pub fn draw(path: &Path, title: &str, (x, y): (&str, &str), log_x: bool, curves: &[Curve]) -> Result<()> {
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
    let area = SVGBackend::new(path, (900, 520)).into_drawing_area();
    area.fill(&WHITE)?;
    let heights = (low / 1.5..high * 1.5).log_scale();
    let mut builder = ChartBuilder::on(&area);
    builder
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(84);
    // The two kinds of axis are two types.
    macro_rules! fill {
        ($chart:expr) => {{
            let mut chart = $chart;
            chart
                .configure_mesh()
                .x_desc(x)
                .y_desc(y)
                .y_label_formatter(&|rate| format!("{rate:.0}"))
                .draw()?;
            for (at, curve) in curves.iter().enumerate() {
                let color = Palette99::pick(at).to_rgba();
                chart
                    .draw_series(
                        LineSeries::new(curve.points.iter().copied(), color.stroke_width(2)).point_size(3),
                    )?
                    .label(curve.name.as_str())
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
            }
            chart
                .configure_series_labels()
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.4))
                .draw()?;
        }};
    }
    if log_x {
        fill!(builder.build_cartesian_2d((left..right.max(left * 1.01)).log_scale(), heights)?);
    } else {
        fill!(builder.build_cartesian_2d(left..right.max(left + 0.01), heights)?);
    }
    area.present()?;
    Ok(())
}
