//! Lines over two axes, as SVG.

use std::fmt::Write;

const WIDTH: f64 = 780.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 56.0;
/// The least distance between two names at the right.
const NAME_HEIGHT: f64 = 15.0;

#[derive(Clone, Copy, Debug)]
pub struct Axis {
    title: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Logarithmic,
    FromZero,
    /// The places 0, 1, 2, ..., with names.
    Named(&'static [&'static str]),
}

impl Axis {
    pub const fn logarithmic(title: &'static str) -> Self {
        let kind = Kind::Logarithmic;
        Self { title, kind }
    }

    pub const fn from_zero(title: &'static str) -> Self {
        let kind = Kind::FromZero;
        Self { title, kind }
    }

    pub const fn named(title: &'static str, names: &'static [&'static str]) -> Self {
        let kind = Kind::Named(names);
        Self { title, kind }
    }
}

#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

#[derive(Clone, Debug)]
pub struct Chart {
    title: &'static str,
    x: Axis,
    y: Axis,
    pub lines: Vec<Line>,
}

impl Chart {
    pub fn new(title: &'static str, x: Axis, y: Axis) -> Self {
        Self {
            title,
            x,
            y,
            lines: Vec::new(),
        }
    }

    /// The line of this name. Makes it if there is none.
    pub fn line(&mut self, name: &str) -> &mut Line {
        let at = self.lines.iter().position(|line| line.name == name);
        let at = at.unwrap_or_else(|| {
            self.lines.push(Line {
                name: name.to_owned(),
                points: Vec::new(),
            });
            self.lines.len() - 1
        });
        &mut self.lines[at]
    }

    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let mut x = Scale::over(self.x.kind, points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        x.mark(points().map(|point| point.0));
        let y = Scale::over(self.y.kind, points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
            self.title
        );
        self.axes(&mut svg, &x, &y);
        self.curves(&mut svg, &x, &y);
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, svg: &mut String, x: &Scale, y: &Scale) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, label) in y.ticks() {
            let at = y.place(value);
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 8.0,
                at + 4.0
            );
        }
        for (value, label) in x.ticks() {
            let at = x.place(value);
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#eee\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                bottom + 18.0
            );
        }
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#888\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 14.0,
            self.x.title,
            (TOP + bottom) / 2.0,
            self.y.title
        );
    }

    /// The lines, each with its name at its end, far enough apart to be readable.
    fn curves(&self, svg: &mut String, x: &Scale, y: &Scale) {
        let mut names = Vec::new();
        let mut others = 0;
        for line in &self.lines {
            let style = Style::of(&line.name, &mut others);
            let mut path = String::new();
            let mut marks = String::new();
            let measured = line.points.iter().filter(|point| point.1.is_finite());
            let mut end = None;
            for (at, point) in measured.enumerate() {
                let (px, py) = (x.place(point.0), y.place(point.1));
                let _ = write!(path, "{}{px:.1} {py:.1}", if at == 0 { 'M' } else { 'L' });
                let _ = write!(
                    marks,
                    "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3\" fill=\"{}\"/>",
                    style.color
                );
                end = Some(py);
            }
            let Some(end) = end else { continue };
            let _ = writeln!(
                svg,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-dasharray=\"{}\"/>{marks}",
                style.color, style.width, style.dashes
            );
            names.push((end, line.name.as_str(), style));
        }
        names.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut lowest = f64::NEG_INFINITY;
        let room = HEIGHT - BOTTOM;
        let count = names.len();
        for (at, (end, name, style)) in names.into_iter().enumerate() {
            let latest = room - NAME_HEIGHT * (count - 1 - at) as f64;
            lowest = end
                .max(lowest + NAME_HEIGHT)
                .min(latest.max(lowest + NAME_HEIGHT));
            let right = WIDTH - RIGHT;
            let _ = writeln!(
                svg,
                "<path d=\"M{:.1} {end:.1}L{:.1} {lowest:.1}\" stroke=\"{}\" stroke-width=\"0.6\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{}\" font-weight=\"{}\">{name}</text>",
                right + 4.0,
                right + 16.0,
                style.color,
                right + 20.0,
                lowest + 4.0,
                style.color,
                style.weight
            );
        }
    }
}

/// Anabranch is emphasized, the limit is dashed, and each peer has its colour.
#[derive(Clone, Copy, Debug)]
struct Style {
    color: &'static str,
    width: f64,
    dashes: &'static str,
    weight: &'static str,
}

impl Style {
    fn of(name: &str, others: &mut usize) -> Self {
        const COLORS: [&str; 9] = [
            "#d95f02", "#7570b3", "#1b9e77", "#e7298a", "#66a61e", "#a6761d", "#e6ab02", "#5f9ea0", "#888888",
        ];
        let many = name.contains("8 callers");
        let (color, width, dashes, weight) = if name.starts_with("anabranch") {
            (if many { "#6baed6" } else { "#08519c" }, 2.5, "none", "bold")
        } else if name.starts_with("raw") {
            (if many { "#999" } else { "#222" }, 1.5, "5 4", "normal")
        } else {
            *others += 1;
            (COLORS[(*others - 1) % COLORS.len()], 1.5, "none", "normal")
        };
        Self {
            color,
            width,
            dashes,
            weight,
        }
    }
}

/// From values to places.
#[derive(Clone, Debug)]
struct Scale {
    kind: Kind,
    /// Values to mark instead of round ones.
    marked: Vec<f64>,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn over(kind: Kind, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        let (low, high) = match kind {
            Kind::Logarithmic => (low.max(1e-9) * 0.9, high * 1.1),
            Kind::FromZero => (0.0, high * 1.15),
            Kind::Named(names) => (-0.2, names.len() as f64 - 0.8),
        };
        Self {
            kind,
            marked: Vec::new(),
            low,
            high,
            from,
            to,
        }
    }

    /// Marks the measured values if they are powers of a number.
    fn mark(&mut self, values: impl Iterator<Item = f64>) {
        if matches!(self.kind, Kind::Logarithmic) {
            self.marked = values.collect();
            self.marked.sort_by(f64::total_cmp);
            self.marked.dedup();
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = match self.kind {
            Kind::Logarithmic => (value / self.low).ln() / (self.high / self.low).ln(),
            _ => (value - self.low) / (self.high - self.low),
        };
        self.from + share * (self.to - self.from)
    }

    /// Round values with their labels.
    fn ticks(&self) -> Vec<(f64, String)> {
        match self.kind {
            _ if !self.marked.is_empty() => {
                let marked = self.marked.iter();
                marked.map(|value| (*value, shown(*value))).collect()
            }
            Kind::Named(names) => names
                .iter()
                .enumerate()
                .map(|(at, name)| (at as f64, (*name).to_owned()))
                .collect(),
            Kind::FromZero => {
                let step = nice(self.high / 5.0);
                (0..=5)
                    .map(|n| f64::from(n) * step)
                    .filter(|value| *value <= self.high)
                    .map(|value| (value, shown(value)))
                    .collect()
            }
            Kind::Logarithmic => {
                // If there are few decades, their twos and fives are marked too.
                let marks: &[f64] = match (self.high / self.low).log10() {
                    decades if decades > 4.0 => &[1.0],
                    _ => &[1.0, 2.0, 5.0],
                };
                let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
                (first..=last)
                    .flat_map(|decade| marks.iter().map(move |mark| mark * 10f64.powi(decade)))
                    .filter(|value| (self.low..=self.high).contains(value))
                    .map(|value| (value, shown(value)))
                    .collect()
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, not smaller.
fn nice(step: f64) -> f64 {
    let decade = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|mark| mark * decade)
        .find(|nice| *nice >= step)
        .unwrap_or(step)
}

fn shown(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e4 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    }
}
