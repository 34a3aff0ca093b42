//! The plot: throughput, p50 and p99 against the number in flight, raw and ours, a row of charts for each operation.

use std::collections::BTreeMap;
use std::error::Error;

use plotters::prelude::*;

use crate::row::{Compared, Figures, Measured, Row};

const WIDTH: u32 = 420;
const HEIGHT: u32 = 280;
const RAW: RGBColor = RGBColor(120, 120, 120);
const OURS: RGBColor = RGBColor(20, 90, 200);

/// What a chart shows of one side.
type Of = fn(&Figures) -> f64;
const CHARTS: [(&str, Of); 3] =
    [("operations/s", |figures| figures.per_second), ("p50, µs", |figures| figures.p50_us), ("p99, µs", |figures| figures.p99_us)];

/// Draws what was measured at several numbers in flight.
pub fn draw(rows: &[Row], path: &str) -> Result<(), Box<dyn Error>> {
    let mut series: BTreeMap<(&str, &str), Vec<(u64, &Compared)>> = BTreeMap::new();
    for row in rows {
        if let Measured::Compared(measured) = &row.measured {
            series.entry((&row.bench, &row.what)).or_default().push((row.at_once, measured));
        }
    }
    series.retain(|_, points| points.len() > 2);
    let size = (WIDTH * CHARTS.len() as u32, HEIGHT * series.len().max(1) as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    let areas = root.split_evenly((series.len().max(1), CHARTS.len()));
    for (((bench, what), points), areas) in series.iter().zip(areas.chunks(CHARTS.len())) {
        for ((unit, of), area) in CHARTS.iter().zip(areas) {
            chart(area, &format!("{what} ({bench}), {unit}"), points, *of)?;
        }
    }
    root.present()?;
    Ok(())
}

fn chart<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    caption: &str,
    points: &[(u64, &Compared)],
    of: Of,
) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    let x = |at_once: u64| at_once as f64;
    let highest = points.iter().flat_map(|(_, measured)| [of(&measured.raw), of(&measured.ours)]).fold(0.0, f64::max);
    let last = points.iter().map(|(at_once, _)| x(*at_once)).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 12))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(60)
        .build_cartesian_2d((1.0..last).log_scale().base(2.0), 0.0..highest * 1.1)?;
    chart.configure_mesh().light_line_style(TRANSPARENT).x_desc("at once").draw()?;
    for (label, colour, side) in
        [("raw", RAW, (|measured: &Compared| measured.raw) as fn(&Compared) -> Figures), ("ours", OURS, |measured| measured.ours)]
    {
        let line = points.iter().map(|(at_once, measured)| (x(*at_once), of(&side(measured))));
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 12, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(TRANSPARENT).label_font(("sans-serif", 11)).draw()?;
    Ok(())
}
