//! Figures out of `--json`, as elements that say where they come from.

use maud::{Markup, Render, html};
use serde_json::Value;

/// A figure on the page; a dash if the run has none.
pub struct Figure(Option<Markup>);

impl Figure {
    /// Is there one?
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

impl Render for Figure {
    fn render(&self) -> Markup {
        match &self.0 {
            Some(markup) => markup.clone(),
            None => html! { "-" },
        }
    }
}

/// The figures of a run.
#[derive(Clone, Copy)]
pub struct Figures<'a> {
    all: &'a Value,
    run: &'a str,
}

impl<'a> Figures<'a> {
    /// Those whose keys begin with `run`.
    pub fn new(all: &'a Value, run: &'a str) -> Self {
        Self { all, run }
    }

    /// What is there under a key of the run, with dots between its parts; `None` if nothing is, or null.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        let path = format!("{}{key}", self.run);
        let mut at = self.all;
        for part in path.split('.') {
            at = match at {
                Value::Array(values) => values.get(part.parse::<usize>().ok()?)?,
                other => other.get(part)?,
            };
        }
        Some(at).filter(|value| !value.is_null())
    }

    /// The parts that stand under a key, with their names.
    pub fn parts(&self, key: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let object = self.get(key).and_then(Value::as_object);
        let parts = object.into_iter().flatten();
        parts.map(|(name, value)| (name.as_str(), value))
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.as_str().map(str::to_string)
    }

    /// A whole number, or a text or a truth as they are.
    pub fn whole(&self, key: &str) -> Figure {
        let shown = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.as_u64().map_or(number.to_string(), grouped)),
            Value::Bool(truth) => Some(if *truth { "yes" } else { "no" }.to_string()),
            _ => None,
        };
        self.figure(key, shown)
    }

    /// A share of 1, in percent.
    pub fn percent(&self, key: &str) -> Figure {
        self.figure(key, |value| {
            Some(format!("{:.1} %", 100.0 * value.as_f64()?))
        })
    }

    /// Any number with so many digits behind the point, and what stands behind it.
    pub fn decimal(&self, key: &str, digits: usize, unit: &str) -> Figure {
        self.figure(key, |value| {
            Some(format!("{:.digits$}{unit}", value.as_f64()?))
        })
    }

    fn figure(&self, key: &str, shown: impl Fn(&Value) -> Option<String>) -> Figure {
        let value = self.get(key);
        Figure(value.and_then(|value| Some(self.element(key, value, &shown(value)?))))
    }

    fn element(&self, key: &str, value: &Value, shown: &str) -> Markup {
        let raw = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        html! { data value=(raw) data-key={ (self.run) (key) } { (shown) } }
    }
}

/// A number with narrow spaces between its thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_name_their_keys_and_hold_their_values() {
        let all = json!({ "scenarios": [{ "cycles": 12345, "share": 0.25, "none": null }] });
        let figures = Figures::new(&all, "scenarios.0.");
        let text = |figure: Figure| figure.render().into_string();
        assert_eq!(
            text(figures.whole("cycles")),
            "<data value=\"12345\" data-key=\"scenarios.0.cycles\">12\u{202f}345</data>"
        );
        assert!(text(figures.percent("share")).contains("value=\"0.25\""));
        assert!(text(figures.percent("share")).contains(">25.0 %<"));
        assert_eq!(text(figures.whole("none")), "-");
        assert!(!figures.whole("cycles.deeper").is_there());
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1 000"),
            (1_234_567, "1 234 567"),
        ] {
            assert_eq!(grouped(number).replace('\u{202f}', " "), text);
        }
    }
}
