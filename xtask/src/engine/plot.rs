//! Draws measurements as lines over two logarithmic axes, as SVG. Pure text.

use std::fmt::Write;

/// One line.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

impl Series {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, points: Vec::new() }
    }
}

const COLOURS: [&str; 4] = ["#1b6ca8", "#c0392b", "#2e8b57", "#8e6bbf"];
/// Size of one panel with its margins, and the margins, in pixels.
const PANEL: (f64, f64) = (460.0, 340.0);
const LEFT: f64 = 64.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 44.0;

/// Panels side by side, each with the name of its upward axis.
pub(super) fn draw(title: &str, panels: &[(&str, &[Series])]) -> String {
    let (width, height) = (PANEL.0 * panels.len() as f64, PANEL.1);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{title}</text>\n"
    );
    for (index, (axis, series)) in panels.iter().enumerate() {
        let _ = writeln!(out, "<g transform=\"translate({} 0)\">", PANEL.0 * index as f64);
        panel(&mut out, axis, series);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, axis: &str, series: &[Series]) {
    let all = || series.iter().flat_map(|one| &one.points);
    let (x, y) = (Axis::over(all().map(|point| point.0)), Axis::over(all().map(|point| point.1)));
    let across = |value: f64| LEFT + x.place(value) * (PANEL.0 - LEFT - RIGHT);
    let up = |value: f64| PANEL.1 - BOTTOM - y.place(value) * (PANEL.1 - TOP - BOTTOM);
    let (right, bottom) = (PANEL.0 - RIGHT, PANEL.1 - BOTTOM);
    for value in x.ticks() {
        let at = across(value);
        let _ = writeln!(out, "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>");
        let _ = writeln!(
            out,
            "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 17.0,
            short(value)
        );
    }
    for value in y.ticks() {
        let at = up(value);
        let _ = writeln!(out, "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>");
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            short(value)
        );
    }
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"{}\" fill=\"#555\">{axis}</text>", TOP - 10.0);
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">files</text>",
        f64::midpoint(LEFT, right),
        bottom + 34.0
    );
    // Names stand beside the last points, and not on each other.
    let mut names: Vec<(f64, usize)> = series
        .iter()
        .enumerate()
        .filter_map(|(index, one)| Some((up(one.points.last()?.1) + 4.0, index)))
        .collect();
    names.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut last = f64::NEG_INFINITY;
    for (at, index) in names {
        let at = at.max(last + 13.0);
        last = at;
        let (one, colour) = (&series[index], COLOURS[index % COLOURS.len()]);
        let line: Vec<String> =
            one.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y))).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for (x, y) in &one.points {
            let _ = writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                across(*x),
                up(*y)
            );
        }
        let _ =
            writeln!(out, "<text x=\"{}\" y=\"{at:.1}\" fill=\"{colour}\">{}</text>", right + 8.0, one.name);
    }
}

/// A logarithmic axis from one power of ten to another.
struct Axis {
    from: i32,
    to: i32,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            return Self { from: 0, to: 1 };
        }
        let from = low.log10().floor() as i32;
        Self { from, to: (high.log10().ceil() as i32).max(from + 1) }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.from..=self.to).map(|power| 10_f64.powi(power))
    }

    /// Between 0 and 1.
    fn place(&self, value: f64) -> f64 {
        let power = value.max(10_f64.powi(self.from)).log10();
        (power - f64::from(self.from)) / f64::from(self.to - self.from)
    }
}

fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousandfold_takes_the_whole_axis() {
        let axis = Axis::over([2.0, 900.0].into_iter());
        assert_eq!(axis.ticks().collect::<Vec<_>>(), [1.0, 10.0, 100.0, 1000.0]);
        assert!((axis.place(1000.0) - 1.0).abs() < 1e-9 && axis.place(1.0).abs() < 1e-9);
        let mut series = Series::new("archive");
        series.points = vec![(1e4, 0.5), (1e6, 50.0)];
        let text = draw("t", &[("seconds", &[series])]);
        assert!(text.contains(">1M</text>") && text.contains(">archive</text>"));
        assert_eq!(text.matches("<circle").count(), 2);
    }
}
