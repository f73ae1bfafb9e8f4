//! Kubernetes label selectors.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Which objects are selected, by their labels. An empty selector selects all.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Selector {
    pub(super) match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Expression>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct Expression {
    key: String,
    operator: String,
    values: Vec<String>,
}

impl Selector {
    pub(super) fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let mut wanted = self.match_labels.iter();
        wanted.all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|one| one.holds(labels))
    }
}

impl Expression {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let is_listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator.as_str() {
            "In" => is_listed,
            "NotIn" => !is_listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            // The API accepts no others.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_and_expressions_have_to_hold_together() {
        let selector: Selector = serde_json::from_value(json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "old", "operator": "DoesNotExist"},
                {"key": "zone", "operator": "NotIn", "values": ["x"]},
            ],
        }))
        .unwrap();
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pair = |(key, value): &(&str, &str)| ((*key).into(), (*value).into());
            pairs.iter().map(pair).collect()
        };
        assert!(selector.matches(&labels(&[("app", "web"), ("tier", "b")])));
        for others in [
            &[("app", "db"), ("tier", "a")][..],
            &[("app", "web")],
            &[("app", "web"), ("tier", "c")],
            &[("app", "web"), ("tier", "a"), ("old", "")],
            &[("app", "web"), ("tier", "a"), ("zone", "x")],
        ] {
            assert!(!selector.matches(&labels(others)), "{others:?}");
        }
        assert!(Selector::default().matches(&labels(&[])) && Selector::default().is_empty());
    }
}
