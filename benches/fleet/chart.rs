//! Draws a day of the fleet as an SVG chart.

use std::fmt::Write as _;

use super::{Day, OUTAGE, OUTAGE_END, SHORTAGE_END, SPAN};

/// A panel of the chart: its position, and the ranges of its axes.
struct Panel {
    top: f64,
    max_x: f64,
    max_y: f64,
}

impl Panel {
    fn x(&self, value: f64) -> f64 {
        LEFT + WIDTH * value / self.max_x
    }

    fn y(&self, value: f64) -> f64 {
        self.top + HEIGHT * (1.0 - (value / self.max_y).min(1.0))
    }

    fn line(&self, points: impl Iterator<Item = (f64, f64)>, colour: &str) -> String {
        let mut path = String::new();
        for (x, y) in points {
            let letter = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", self.x(x), self.y(y));
        }
        format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n")
    }

    fn frame(&self, title: &str, marks: &[(f64, String)], heights: &[f64]) -> String {
        let mut svg = format!(
            "<text x=\"{LEFT}\" y=\"{:.0}\" font-weight=\"bold\">{title}</text>\n",
            self.top - 10.0
        );
        for height in heights {
            let y = self.y(*height);
            let right = LEFT + WIDTH;
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{height}</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        for (value, mark) in marks {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{mark}</text>",
                self.x(*value),
                self.top + HEIGHT + 16.0
            );
        }
        svg
    }
}

/// Draws the chart.
pub(crate) fn draw(day: &Day) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        LEFT + WIDTH + 20.0,
        2.0 * (HEIGHT + 70.0)
    );
    svg.push_str(&start(day));
    svg.push_str(&whole_day(day));
    svg.push_str("</svg>\n");
    svg
}

/// Draws the first three minutes: how many sidecars have credentials, and how many the quota allows.
fn start(day: &Day) -> String {
    let all = day.first.len() as f64;
    let panel = Panel {
        top: 40.0,
        max_x: 180.0,
        max_y: all,
    };
    let marks: Vec<_> = (0..=6)
        .map(|n| (f64::from(n) * 30.0, format!("{} s", n * 30)))
        .collect();
    let mut svg = panel.frame(
        &format!("Sidecars with credentials after a start of {all} within a second; grey: all that the quota allows"),
        &marks,
        &[0.0, all / 2.0, all],
    );
    svg.push_str(&panel.line(
        [(0.0, 0.0), (all / 100.0, all), (180.0, all)].into_iter(),
        "#aaa",
    ));
    let reached = (0..=360).map(|half| {
        let at = f64::from(half) / 2.0;
        (at, day.first.partition_point(|first| *first <= at) as f64)
    });
    svg.push_str(&panel.line(reached, "#06c"));
    svg
}

/// Draws the calls a second: the busiest second of each minute, and the average of those granted.
fn whole_day(day: &Day) -> String {
    let panel = Panel {
        top: HEIGHT + 110.0,
        max_x: SPAN as f64,
        max_y: 400.0,
    };
    let marks: Vec<_> = (0..=6)
        .map(|n| (f64::from(n) * 4.0 * 3600.0, format!("{} h", n * 4)))
        .collect();
    let mut svg = String::new();
    for (from, to, colour) in [
        (OUTAGE, OUTAGE_END, "#fdd"),
        (OUTAGE_END, SHORTAGE_END, "#ffe9c7"),
    ] {
        let (x, right) = (panel.x(from as f64), panel.x(to as f64));
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.0}\" width=\"{:.1}\" height=\"{HEIGHT}\" fill=\"{colour}\"/>",
            panel.top,
            right - x
        );
    }
    svg.push_str(&panel.frame(
        "Calls a second: red the busiest of each minute, blue granted on average (ground: red outage, yellow a tenth of the quota)",
        &marks,
        &[0.0, 100.0, 200.0, 300.0, 400.0],
    ));
    let minutes = || day.seconds.chunks(60).enumerate();
    let busiest = minutes().map(|(minute, part)| {
        let most = part.iter().map(|second| second.all()).max();
        (minute as f64 * 60.0, f64::from(most.unwrap_or_default()))
    });
    let granted = minutes().map(|(minute, part)| {
        let sum: u32 = part.iter().map(|second| second.granted).sum();
        (minute as f64 * 60.0, f64::from(sum) / 60.0)
    });
    svg.push_str(&panel.line(busiest, "#c30"));
    svg.push_str(&panel.line(granted, "#06c"));
    svg
}

const LEFT: f64 = 60.0;
const WIDTH: f64 = 840.0;
const HEIGHT: f64 = 200.0;
