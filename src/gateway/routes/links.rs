//! Where an answer leads: what one route says is what another one is asked with.

use utoipa::openapi::{RefOr, link::LinkBuilder, path::Operation};

/// An operation, a place in its answer, another operation, and its parameter that has this value.
///
/// Only from what is always there: a list may be empty, and a record may have no payload.
const LINKS: [(&str, &str, &str, &str); 8] = [
    ("record", "/record", "history", "id"),
    ("record", "/record", "custody", "id"),
    ("record", "/record", "policy", "id"),
    ("record", "/owner", "person", "key"),
    ("request", "/record", "record", "id"),
    ("request", "/requester", "person", "key"),
    ("members", "/items/0/node", "dealing_keys", "node"),
    ("status", "/log_size", "proof", "new"),
];

/// Adds the links of an operation to its successful answer.
pub(super) fn add(operation: &mut Operation) {
    let from = operation.operation_id.clone().unwrap_or_default();
    let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") else { return };
    for (_, place, to, parameter) in LINKS.iter().filter(|(of, ..)| *of == from) {
        let value = format!("$response.body#{place}");
        let link = LinkBuilder::new().operation_id(*to).parameter("c", "$request.path.c").parameter(*parameter, value);
        answer.links.insert((*to).to_owned(), RefOr::T(link.build()));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::openapi, *};
    use serde_json::Value;

    #[test]
    fn every_link_leads_from_an_answer_to_a_parameter() {
        let description = serde_json::to_value(openapi()).unwrap();
        let paths = description["paths"].as_object().unwrap();
        let calls: Vec<&Value> = paths.values().flat_map(|item| item.as_object().unwrap().values()).collect();
        let call = |name: &str| *calls.iter().find(|call| call["operationId"] == name).unwrap();
        let mut count = 0;
        for (from, place, to, parameter) in LINKS {
            let named = call(to)["parameters"].as_array().unwrap().iter().any(|own| own["name"] == parameter);
            assert!(named, "{to} has no `{parameter}`");
            let links = call(from)["responses"]["200"]["links"].as_object().unwrap();
            assert!(
                links.values().any(|link| link["parameters"][parameter] == format!("$response.body#{place}")),
                "{from}"
            );
            count += 1;
        }
        let all: usize =
            calls.iter().filter_map(|call| call["responses"]["200"]["links"].as_object()).map(|l| l.len()).sum();
        assert_eq!(all, count, "no two have one name");
    }
}
