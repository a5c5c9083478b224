//! Latency against throughput, as an image in SVG that reads well on light and on dark ground.
//!
//! # Source
//! SVG 1.1; the colours are of Okabe and Ito's palette, which the colour-blind can tell apart

use super::run::Run;
use std::fmt::Write as _;

/// The image, in units of the document.
const SIZE: (f64, f64) = (860.0, 530.0);
/// Where the plot is in it.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 836.0;
const TOP: f64 = 104.0;
const BOTTOM: f64 = 470.0;
/// About how many lines there are across.
const ACROSS: f64 = 7.0;
/// The latencies that are drawn: a name, which runs have it, a shape.
const SERIES: [(&str, usize, Mark); 3] =
    [("p50", 500, Mark::Circle), ("p95", 950, Mark::Square), ("p99", 990, Mark::Diamond)];

/// Colours by themselves, and others where the ground is dark. Not every program that draws SVG knows variables.
const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1b1b1b } .title { font-size: 17px; font-weight: 600 } \
.small { font-size: 12px } .ground { fill: #ffffff } .grid { stroke: #d5d5d5; stroke-width: 1 } \
.axis { stroke: #1b1b1b; stroke-width: 1.2 } .most { stroke: #1b1b1b; stroke-width: 1.2; stroke-dasharray: 5 4 } \
.line { fill: none; stroke-width: 2 } .line.p50 { stroke: #0072b2 } .line.p95 { stroke: #b85c00 } .line.p99 { stroke: #a8326f } \
.mark.p50 { fill: #0072b2 } .mark.p95 { fill: #b85c00 } .mark.p99 { fill: #a8326f } \
@media (prefers-color-scheme: dark) { text { fill: #ececec } .ground { fill: #16181b } .grid { stroke: #3b3f45 } \
.axis, .most { stroke: #ececec } .line.p50 { stroke: #56b4e9 } .line.p95 { stroke: #e69f00 } .line.p99 { stroke: #e58bbd } \
.mark.p50 { fill: #56b4e9 } .mark.p95 { fill: #e69f00 } .mark.p99 { fill: #e58bbd } }";

#[derive(Clone, Copy)]
enum Mark {
    Circle,
    Square,
    Diamond,
}

/// What is drawn: points of a sweep, beside what the network can do at most.
pub(super) struct Plot {
    title: String,
    below: [String; 2],
    most: f64,
    points: Vec<Point>,
}

/// A run at a rate.
struct Point {
    percent: u32,
    tps: f64,
    ms: [Option<f64>; SERIES.len()],
}

/// Where values stand.
struct Scale {
    /// The most across, and the distance of two lines.
    across: (f64, f64),
    /// The powers of ten that the latencies lie between.
    up: (i32, i32),
}

impl Plot {
    /// What a sweep came to; the first of its runs is the closed loop.
    pub(super) fn of(title: String, below: [String; 2], runs: &[Run]) -> Self {
        let point = |run: &Run| {
            Some(Point { percent: run.percent()?, tps: run.tps(), ms: SERIES.map(|(_, at, _)| run.ms(at)) })
        };
        let most = runs.first().map_or(0.0, Run::tps);
        Self { title, below, most, points: runs.iter().filter_map(point).collect() }
    }

    /// The image.
    pub(super) fn svg(&self) -> String {
        let scale = self.scale();
        let (width, height) = SIZE;
        let [first, second] = self.below.each_ref().map(|line| escaped(line));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
             <title>{title}</title>\n<desc>{first}; {second}</desc>\n<style>{STYLE}</style>\n\
             <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"30\">{title}</text>\n\
             <text class=\"small\" x=\"{LEFT}\" y=\"50\">{first}</text>\n\
             <text class=\"small\" x=\"{LEFT}\" y=\"67\">{second}</text>\n",
            title = escaped(&self.title),
        );
        scale.draw(&mut svg);
        self.draw_most(&scale, &mut svg);
        for (at, (name, _, mark)) in SERIES.iter().enumerate() {
            self.draw_series(at, name, *mark, &scale, &mut svg);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn scale(&self) -> Scale {
        let most = self.points.iter().map(|point| point.tps).fold(self.most, f64::max).max(1.0);
        let step = step(most / ACROSS);
        let ms: Vec<f64> = self.points.iter().flat_map(|point| point.ms).flatten().filter(|ms| *ms > 0.0).collect();
        let (least, highest) =
            (ms.iter().copied().fold(f64::INFINITY, f64::min), ms.iter().copied().fold(0.0, f64::max));
        let up = if ms.is_empty() { (0, 1) } else { (power_below(least), power_below(highest) + 1) };
        Scale { across: ((most / step).ceil() * step, step), up }
    }

    fn draw_most(&self, scale: &Scale, svg: &mut String) {
        let x = scale.x(self.most);
        // Over the plot, where no point is.
        let _ = write!(
            svg,
            "<line class=\"most\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{BOTTOM}\"/>\n\
             <text class=\"small\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">closed loop: {:.0}/s</text>\n",
            x.min(RIGHT - 50.0),
            TOP - 9.5,
            self.most
        );
    }

    fn draw_series(&self, at: usize, name: &str, mark: Mark, scale: &Scale, svg: &mut String) {
        let points = self.points.iter().filter_map(|point| Some((point, (*point.ms.get(at)?)?)));
        let places: Vec<_> = points.map(|(point, ms)| (point, ms, scale.x(point.tps), scale.y(ms))).collect();
        let line: Vec<String> = places.iter().map(|(_, _, x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(svg, "<polyline class=\"line {name}\" points=\"{}\"/>", line.join(" "));
        for (Point { percent, tps, .. }, ms, x, y) in &places {
            let told = format!("{name} {ms:.1} ms at {tps:.0}/s, {percent} % offered");
            let _ = writeln!(svg, "<g><title>{told}</title>{}</g>", mark.drawn(name, *x, *y));
        }
        // What each line is, in a row over the plot.
        let x = LEFT + 12.0 + 76.0 * f64::from(u8::try_from(at).unwrap_or_default());
        let _ = writeln!(
            svg,
            "{}<text x=\"{:.1}\" y=\"{}\">{name}</text>",
            mark.drawn(name, x, TOP - 14.0),
            x + 12.0,
            TOP - 9.5
        );
    }
}

impl Scale {
    fn x(&self, tps: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * tps / self.across.0
    }

    /// Logarithmic: equal factors are equal distances.
    fn y(&self, ms: f64) -> f64 {
        let (low, high) = (f64::from(self.up.0), f64::from(self.up.1));
        let part = (ms.max(f64::MIN_POSITIVE).log10() - low) / (high - low);
        BOTTOM - (BOTTOM - TOP) * part.clamp(0.0, 1.0)
    }

    fn draw(&self, svg: &mut String) {
        let (most, step) = self.across;
        let mut tps = 0.0;
        while tps <= most + step / 2.0 {
            let x = self.x(tps);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{BOTTOM}\"/>\n\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                BOTTOM + 20.0,
                number(tps)
            );
            tps += step;
        }
        for power in self.up.0..=self.up.1 {
            for digit in [1.0, 2.0, 5.0] {
                let ms = digit * 10f64.powi(power);
                if power == self.up.1 && digit > 1.0 {
                    break;
                }
                let y = self.y(ms);
                let _ = write!(
                    svg,
                    "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>\n\
                     <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                    LEFT - 8.0,
                    y + 4.5,
                    number(ms)
                );
            }
        }
        let (middle, up) = (f64::midpoint(LEFT, RIGHT), f64::midpoint(TOP, BOTTOM));
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{BOTTOM}\" x2=\"{RIGHT}\" y2=\"{BOTTOM}\"/>\n\
             <line class=\"axis\" x1=\"{LEFT}\" y1=\"{TOP}\" x2=\"{LEFT}\" y2=\"{BOTTOM}\"/>\n\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">throughput (done a second)</text>\n\
             <text x=\"20\" y=\"{up}\" text-anchor=\"middle\" transform=\"rotate(-90 20 {up})\">latency (ms)</text>\n",
            BOTTOM + 46.0
        );
    }
}

impl Mark {
    fn drawn(self, name: &str, x: f64, y: f64) -> String {
        match self {
            Self::Circle => format!("<circle class=\"mark {name}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"),
            Self::Square => {
                let (x, y) = (x - 4.5, y - 4.5);
                format!("<rect class=\"mark {name}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"9\" height=\"9\"/>")
            }
            Self::Diamond => {
                let [left, right, top, bottom] = [x - 6.0, x + 6.0, y - 6.0, y + 6.0];
                format!(
                    "<path class=\"mark {name}\" d=\"M{left:.1} {y:.1}L{x:.1} {top:.1}L{right:.1} {y:.1}L{x:.1} {bottom:.1}Z\"/>"
                )
            }
        }
    }
}

/// The power of ten that is not above a value.
fn power_below(value: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "a latency is of a few powers of ten")]
    let power = value.log10().floor() as i32;
    power
}

/// A round number that is not below a value: 1, 2 or 5 times a power of ten.
fn step(least: f64) -> f64 {
    let power = 10f64.powi(power_below(least));
    [1.0, 2.0, 5.0].map(|digit| digit * power).into_iter().find(|step| *step >= least).unwrap_or(10.0 * power)
}

/// A number with the digits that it needs.
fn number(value: f64) -> String {
    if value >= 1.0 || value == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}").trim_end_matches('0').to_owned()
    }
}

/// Text that is no markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no way to write these.
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(title: &str, points: Vec<Point>) -> Plot {
        Plot { title: title.to_owned(), below: ["a network".to_owned(), "a machine".to_owned()], most: 541.0, points }
    }

    fn at(percent: u32, tps: f64, p50: f64) -> Point {
        Point { percent, tps, ms: [Some(p50), Some(2.0 * p50), Some(4.0 * p50)] }
    }

    #[test]
    fn what_is_higher_is_slower_and_what_is_further_right_is_more() {
        let scale = plot("", vec![at(10, 54.0, 20.0), at(110, 560.0, 900.0)]).scale();
        assert_eq!((scale.across, scale.up), ((600.0, 100.0), (1, 4)));
        assert!((scale.x(0.0) - LEFT).abs() < 1e-9 && (scale.x(600.0) - RIGHT).abs() < 1e-9);
        assert!((scale.y(10.0) - BOTTOM).abs() < 1e-9 && (scale.y(10_000.0) - TOP).abs() < 1e-9);
        let (one, ten) = (scale.y(20.0) - scale.y(40.0), scale.y(200.0) - scale.y(400.0));
        assert!(one > 0.0 && (one - ten).abs() < 1e-9, "equal factors are equal distances");
    }

    #[test]
    fn lines_across_stand_at_round_numbers() {
        let steps = [77.0, 100.0, 101.0, 0.3, 6.0, 1.0].map(step);
        for (found, wanted) in steps.into_iter().zip([100.0, 100.0, 200.0, 0.5, 10.0, 1.0]) {
            assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
        }
        assert_eq!([0.0, 0.05, 0.2, 2.0, 5000.0].map(number), ["0", "0.05", "0.2", "2", "5000"]);
    }

    #[test]
    fn every_run_at_a_rate_is_drawn_with_each_of_its_latencies() {
        let svg = plot("invoke", vec![at(10, 54.0, 20.0), at(50, 270.0, 40.0)]).svg();
        for name in ["p50", "p95", "p99"] {
            assert_eq!(svg.matches(&format!("<title>{name} ")).count(), 2, "{svg}");
        }
        assert!(svg.contains("throughput (done a second)") && svg.contains("latency (ms)"));
        assert!(svg.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn no_text_is_markup() {
        let svg = plot("<a & \"b\">\u{7}", Vec::new()).svg();
        assert!(svg.contains("<title>&lt;a &amp; &quot;b&quot;&gt; </title>"), "{svg}");
    }
}
