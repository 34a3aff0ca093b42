//! The text format of Prometheus, version 0.0.4: families of samples, labels, histograms. It knows no metric.

use std::fmt::{Display, Write};

/// The page that is written.
#[derive(Default)]
pub(super) struct Exposition(String);

/// What a family's numbers do.
#[derive(Clone, Copy)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Label pairs, as they are written.
#[derive(Clone, Default)]
pub(super) struct Labels(String);

impl Labels {
    /// These and one more.
    pub(super) fn with(&self, name: &str, value: impl Display) -> Self {
        let mut text = self.0.clone();
        if !text.is_empty() {
            text.push(',');
        }
        let _ = write!(text, "{name}=\"");
        for c in value.to_string().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
        Self(text)
    }
}

/// A family that is written: all its samples stand together.
pub(super) struct Family<'a> {
    page: &'a mut Exposition,
    name: &'static str,
}

impl Exposition {
    /// Begins a family. The help is one line.
    pub(super) fn family(&mut self, name: &'static str, what: Type, help: &str) -> Family<'_> {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", what.name());
        Family { page: self, name }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &Labels, value: &dyn Display) {
        let labels = &labels.0;
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name}{suffix} {value}")
        } else {
            writeln!(self.0, "{name}{suffix}{{{labels}}} {value}")
        };
    }
}

impl Family<'_> {
    /// One sample.
    pub(super) fn sample(&mut self, labels: &Labels, value: impl Display) {
        self.page.line(self.name, "", labels, &value);
    }

    /// One sample for each of `all`: 1 for what is, 0 for what is not.
    pub(super) fn one_of<T: Copy + PartialEq>(
        &mut self,
        labels: &Labels,
        label: &str,
        all: &[T],
        name: fn(T) -> &'static str,
        is: Option<T>,
    ) {
        for value in all {
            self.sample(&labels.with(label, name(*value)), u8::from(is == Some(*value)));
        }
    }

    /// A histogram: how many lie between each upper edge, in seconds, and the one before it.
    pub(super) fn histogram(&mut self, labels: &Labels, buckets: impl IntoIterator<Item = (f64, u64)>, count: u64, sum: f64) {
        let mut so_far = 0;
        for (edge, between) in buckets {
            so_far += between;
            self.page.line(self.name, "_bucket", &labels.with("le", edge), &so_far);
        }
        // Numbers that go on while they are read may disagree by a little; the format forbids that.
        let count = count.max(so_far);
        self.page.line(self.name, "_bucket", &labels.with("le", "+Inf"), &count);
        self.page.line(self.name, "_sum", labels, &sum);
        self.page.line(self.name, "_count", labels, &count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_may_hold_anything() {
        let mut page = Exposition::default();
        let labels = Labels::default().with("a", "b\\c\"d\ne").with("f", 1);
        page.family("x", Type::Gauge, "An x.").sample(&labels, 2);
        let is = page.into_text();
        assert_eq!(is, "# HELP x An x.\n# TYPE x gauge\nx{a=\"b\\\\c\\\"d\\ne\",f=\"1\"} 2\n");
    }

    #[test]
    fn the_buckets_of_a_histogram_add_up() {
        let mut page = Exposition::default();
        let mut family = page.family("x", Type::Histogram, "An x.");
        family.histogram(&Labels::default(), [(0.000_025, 2), (0.5, 3)], 6, 7.25);
        // What came in while it was read.
        family.histogram(&Labels::default().with("a", "b"), [(0.5, 3)], 2, 1.0);
        let text = page.into_text();
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "# TYPE x histogram",
                "x_bucket{le=\"0.000025\"} 2",
                "x_bucket{le=\"0.5\"} 5",
                "x_bucket{le=\"+Inf\"} 6",
                "x_sum 7.25",
                "x_count 6",
                "x_bucket{a=\"b\",le=\"0.5\"} 3",
                "x_bucket{a=\"b\",le=\"+Inf\"} 3",
                "x_sum{a=\"b\"} 1",
                "x_count{a=\"b\"} 3",
            ]
        );
    }
}
