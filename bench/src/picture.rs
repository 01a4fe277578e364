//! Pictures of the results, as SVG.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::latency::Pair;
use crate::report::Report;
use crate::sinks::Sinks;
use crate::streams::Streams;

const SIZE: (u32, u32) = (960, 540);
const FONT: &str = "sans-serif";
const BLUE: RGBColor = RGBColor(0, 90, 181);
const ORANGE: RGBColor = RGBColor(220, 110, 0);
const RED: RGBColor = RGBColor(200, 0, 30);
const GREEN: RGBColor = RGBColor(0, 130, 60);
const BROWN: RGBColor = RGBColor(120, 70, 20);
const GRAY: RGBColor = RGBColor(120, 120, 120);

/// Draws the results into `dir` and returns the paths of the new files.
pub(crate) fn draw(report: &Report, dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for pair in report.latency.iter().flat_map(|latency| &latency.pairs) {
        let name = format!("latency, {}, {}.svg", pair.placement.name(), pair.pace.name()).replace(", ", "-");
        let path = dir.join(name.replace(' ', "-"));
        draw_latency(pair, &path).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))?;
        paths.push(path);
    }
    if let Some(streams) = report.streams.as_ref().filter(|streams| !streams.steps.is_empty()) {
        let path = dir.join("streams.svg");
        draw_streams(streams, &path).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))?;
        paths.push(path);
    }
    if let Some(sinks) = &report.sinks {
        let (latency, cpu) = (dir.join("sinks-latency.svg"), dir.join("sinks-cpu.svg"));
        draw_sink_latency(sinks, &latency).map_err(|error| anyhow!("cannot draw {}: {error}", latency.display()))?;
        draw_sink_cpu(sinks, &cpu).map_err(|error| anyhow!("cannot draw {}: {error}", cpu.display()))?;
        paths.extend([latency, cpu]);
    }
    Ok(paths)
}

const COLORS: [RGBColor; 6] = [GRAY, ORANGE, BROWN, BLUE, RED, GREEN];

/// Factor by which a picture with a large legend is wider than its lines.
const LEGEND: f64 = 1.5;

/// The share of all writes that were heard within a time, for each server and period.
fn draw_sink_latency(sinks: &Sinks, path: &Path) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let all = || sinks.sinks.iter().flat_map(|sink| sink.latencies.iter().map(move |latency| (&sink.name, latency)));
    let longest = all().map(|(_, latency)| latency.heard.max_us / 1e3).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .caption("From a guest's write to the sink, buffers of two periods", (FONT, 22))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..longest * LEGEND, 0.0..100.0)?;
    chart
        .configure_mesh()
        .x_desc("time (ms)")
        .y_desc("heard within it (%)")
        .axis_desc_style((FONT, 17))
        .label_style((FONT, 15))
        .light_line_style(WHITE)
        .draw()?;
    for (name, latency) in all() {
        let color = COLORS.get(sinks.sinks.iter().position(|sink| sink.name == *name).unwrap_or(0)).unwrap_or(&GRAY);
        // Longer periods get paler lines.
        let color = color.mix(1.0 - f64::from(latency.period_ms) / 60.0);
        let quantiles = latency.heard.quantiles_us.iter().enumerate();
        let points = quantiles.map(|(step, &us)| (us / 1e3, (step + 1) as f64 / 2.0));
        let label = format!("{name}, {} ms: p50 {:.1} ms", latency.period_ms, latency.heard.p50_us / 1e3);
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3)));
    }
    legend(&mut chart, SeriesLabelPosition::LowerRight)?;
    root.present()?;
    Ok(())
}

/// The daemon's processor time against the number of streams, for each sink.
fn draw_sink_cpu(sinks: &Sinks, path: &Path) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let steps = || sinks.sinks.iter().flat_map(|sink| &sink.steps);
    let most = steps().map(|step| step.streams).max().unwrap_or(1);
    let highest = steps().map(|step| step.daemon_cpu_percent).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .caption("The daemon's processor time (48 kHz stereo, periods of 10 ms)", (FONT, 22))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..f64::from(most) * 1.05, 0.0..highest * 1.15)?;
    chart
        .configure_mesh()
        .x_desc("streams")
        .y_desc("of one processor (%)")
        .axis_desc_style((FONT, 17))
        .label_style((FONT, 15))
        .light_line_style(WHITE)
        .x_label_formatter(&|streams| format!("{streams:.0}"))
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .draw()?;
    for (sink, color) in sinks.sinks.iter().zip(COLORS) {
        let points = sink.steps.iter().map(|step| (f64::from(step.streams), step.daemon_cpu_percent));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(4))?
            .label(format!("{}: {} without an xrun", sink.name, sink.most_without_xrun))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3)));
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
    root.present()?;
    Ok(())
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// The share of all WRITEs and ping-pongs that were answered within a time.
fn draw_latency(pair: &Pair, path: &Path) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let quantiles = || pair.write.quantiles_us.iter().chain(&pair.ping_pong.quantiles_us).copied();
    let (shortest, longest) = quantiles().fold((f64::MAX, 1.0), |(least, most), us| (us.min(least), us.max(most)));
    let times = (shortest.clamp(0.1, longest) / 1.2..longest * 1.2).log_scale();
    let title = format!("WRITE of 10 ms, request to response; {}, {}", pair.placement.name(), pair.pace.name());
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 22))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(times, 0.0..100.0)?;
    chart
        .configure_mesh()
        .x_desc("time (µs, logarithmic)")
        .x_label_formatter(&|us| format!("{us}"))
        .y_desc("answered within it (%)")
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .axis_desc_style((FONT, 17))
        .label_style((FONT, 15))
        .light_line_style(WHITE)
        .y_labels(11)
        .draw()?;
    for (kind, distribution, color) in [("vsnd WRITE", &pair.write, BLUE), ("bare ping-pong", &pair.ping_pong, ORANGE)]
    {
        let points = distribution.quantiles_us.iter().enumerate().map(|(step, &us)| (us, (step + 1) as f64 / 2.0));
        let label = format!("{kind}: p50 {:.1} µs, p99 {:.1} µs", distribution.p50_us, distribution.p99_us);
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3)));
        chart.draw_series([Circle::new((distribution.p50_us, 50.0), 4, color.filled())])?;
    }
    legend(&mut chart, SeriesLabelPosition::LowerRight)?;
    root.present()?;
    Ok(())
}

/// Processor time against the number of streams.
fn draw_streams(streams: &Streams, path: &Path) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let steps = &streams.steps;
    let most = steps.iter().map(|step| step.streams).max().unwrap_or(1);
    let highest = steps.iter().map(|step| step.daemon_cpu_percent.max(step.guest_cpu_percent)).fold(1.0, f64::max);
    let decimals = usize::from(highest < 10.0);
    let title = format!(
        "Processor time of playing streams (48 kHz stereo, periods of {} ms, {:.0} s each)",
        streams.period_ms, streams.seconds
    );
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 22))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..f64::from(most) * 1.05, 0.0..highest * 1.15)?;
    chart
        .configure_mesh()
        .x_desc("streams")
        .y_desc("of one processor (%)")
        .axis_desc_style((FONT, 17))
        .label_style((FONT, 15))
        .light_line_style(WHITE)
        .x_label_formatter(&|streams| format!("{streams:.0}"))
        .y_label_formatter(&|percent| format!("{percent:.decimals$}"))
        .draw()?;
    for (name, color, daemon) in [("daemon", BLUE, true), ("guest", ORANGE, false)] {
        let points = steps.iter().map(|step| {
            (f64::from(step.streams), if daemon { step.daemon_cpu_percent } else { step.guest_cpu_percent })
        });
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(4))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3)));
    }
    let failed: Vec<_> = steps.iter().filter(|step| !step.is_clean()).collect();
    if !failed.is_empty() {
        let crosses = failed.iter().map(|step| {
            Cross::new(
                (f64::from(step.streams), step.daemon_cpu_percent.max(step.guest_cpu_percent)),
                8,
                RED.stroke_width(3),
            )
        });
        chart
            .draw_series(crosses)?
            .label("with xruns")
            .legend(|(x, y)| Cross::new((x + 12, y), 6, RED.stroke_width(3)));
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
    root.present()?;
    Ok(())
}

fn legend<'a, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    place: SeriesLabelPosition,
) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(place)
        .margin(16)
        .label_font((FONT, 16))
        .background_style(WHITE.mix(0.9))
        .border_style(GRAY)
        .draw()?;
    Ok(())
}
