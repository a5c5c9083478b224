//! The description of the routes, for programs: OpenAPI.
//!
//! What every route may answer is added here in one place, so that no route forgets it.

use super::{
    audit, charters, custodians, events, front, lineage, links, network, payloads, proposals, query, records, releases,
    remarks, reputation, requests, schema, transactions,
};
use crate::gateway::{consistency, health, metrics, session};
use utoipa::{
    Modify, Number, OpenApi,
    openapi::{
        self, Content, HeaderBuilder, KnownFormat, Object, ObjectBuilder, Ref, RefOr, Required, Response, Schema,
        SchemaFormat, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
        schema::AnyOfBuilder,
        security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme},
    },
};

const PROBLEM: &str = "application/problem+json";
const EVENTS: &str = "text/event-stream";
const SIGNATURE: &str = "signature";
const SIGNATURE_TEXT: &str = "A signed request: RFC 9421 with Ed25519, in the profile of docs/spec/http-signature.md. \
    `Signature-Input`, `Signature` and, with a body, `Content-Digest` are sent together; the key is that of an \
    enrolled and active person. After `POST /v1/session` further requests on the same connection need none.";

/// What any request may be answered with, whatever its route.
const ANYWHERE: [(u16, &str); 12] = [
    (400, "The request cannot be read as one of this route: `bad_query`, `bad_text`, `ambiguous_length` and the like."),
    (
        401,
        "The signature is missing, or is not to be believed: `sig_*`, `key_*`, `alg_not_allowed`, `digest_mismatch`.",
    ),
    (405, "`method_not_allowed`: `Allow` says which methods there are."),
    (406, "`not_acceptable`: the answer has another media type than the caller takes."),
    (408, "`request_timeout`: the headers or the body did not come in time."),
    (411, "`length_required`: a body comes with its length."),
    (413, "`body_too_large`: the body is larger than one may be here."),
    (414, "`uri_too_long`: the URL is longer than 4 KiB."),
    (421, "`misdirected`: the request is for another host."),
    (429, "`rate_limited`, `busy`, `quota`: too much at a time; `Retry-After` says when to try again."),
    (431, "`headers_too_large`: more than 100 headers, or 16 KiB of them."),
    (503, "`unavailable`, `overloaded` and the like: `Retry-After` says when to try again."),
];

/// What a request with a JSON body may be answered with, besides.
const WITH_JSON: [(u16, &str); 2] = [
    (415, "`unsupported_media_type`: the body is not `application/json`."),
    (422, "`too_long`: a value is longer than it may be."),
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "DMDL gateway",
        description = "Sharing medical records without trusting any single party with them. Reads answer at a stated \
            height, lists page by page; docs/api.md says more.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        health::healthz,
        health::readyz,
        metrics::metrics,
        session::start,
        crate::gateway::description,
        front::front,
        network::channels,
        charters::found,
        charters::charter,
        network::status,
        network::members,
        lineage::configurations,
        reputation::reputation,
        network::person,
        network::persons,
        proposals::configuration,
        proposals::proposals,
        proposals::proposal,
        transactions::submit,
        transactions::transaction,
        records::records,
        records::record,
        records::history,
        records::custody,
        records::policy,
        requests::requests,
        requests::request,
        remarks::parties,
        remarks::remarks,
        remarks::keep_remark,
        remarks::keep_title,
        custodians::dealing_keys,
        custodians::keep_share,
        releases::releases,
        payloads::look,
        payloads::upload,
        payloads::download,
        audit::checkpoint,
        audit::proof,
        audit::audit_events,
        audit::export,
        events::follow,
        query::query,
    ),
    components(schemas(schema::Problem)),
    modifiers(&Everywhere),
    security(("signature" = [])),
    tags(
        (name = "operation", description = "Whether the gateway lives, and what it counts."),
        (name = "network", description = "The network as it stands."),
        (name = "transactions", description = "What authors sign, and what becomes of it."),
        (name = "records", description = "The catalogue."),
        (name = "requests", description = "Requests for access, and their grants."),
        (name = "remarks", description = "Beside the ledger: sealed remarks, and titles."),
        (name = "custodians", description = "Dealing a record's key."),
        (name = "releases", description = "Shares for a final, allowed decryption."),
        (name = "payloads", description = "Sealed bytes, by their digest."),
        (name = "audit", description = "The trail, with its proofs."),
        (name = "query", description = "Read-only questions to contracts."),
    ),
)]
struct Description;

/// The description of all routes.
pub(crate) fn openapi() -> openapi::OpenApi {
    Description::openapi()
}

/// Adds what all routes have in common.
struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, description: &mut openapi::OpenApi) {
        let scheme = ApiKeyValue::with_description("Signature", SIGNATURE_TEXT);
        let components = description.components.get_or_insert_default();
        // A page without items is one of every kind.
        if let Some(answered) = components.schemas.get_mut("Answered") {
            any_of(answered);
        }
        components.add_security_scheme(SIGNATURE, SecurityScheme::ApiKey(ApiKey::Header(scheme)));
        for (path, item) in &mut description.paths.paths {
            let of_channel = path.contains("{c}");
            read_of_channel(path, item).into_iter().for_each(say_freshness);
            for operation in operations(item) {
                complete(operation, of_channel);
                links::add(operation);
                // Nobody signs to learn whether the gateway lives; a session is for who signs.
                let is_public = operation.tags.iter().flatten().any(|tag| tag == "operation");
                if is_public && path != "/v1/session" {
                    operation.security = Some(vec![SecurityRequirement::default()]);
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, head, post, put, .. } = item;
    [get, head, post, put].into_iter().filter_map(Option::as_mut)
}

/// What reads the ledger of a channel at one height, for somebody.
fn read_of_channel<'a>(path: &str, item: &'a mut PathItem) -> Option<&'a mut Operation> {
    let read = match path.strip_prefix("/v1/channels/{c}/")? {
        "events" => None,
        "query" => item.post.as_mut(),
        _ => item.get.as_mut(),
    };
    read.filter(|operation| operation.security.is_none())
}

/// Lets a caller say how fresh an answer has to be.
fn say_freshness(operation: &mut Operation) {
    let values = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(consistency::VALUES));
    let text = "`local`, if nothing is said: the answer is true at `DMDL-Height`, which this gateway has come to. \
        `linear`: it is true at a height that everything had come to that was acknowledged before the request.";
    let parameter = ParameterBuilder::new()
        .name(consistency::PARAMETER)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(text))
        .schema(Some(values));
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter.build()));
}

fn complete(operation: &mut Operation, of_channel: bool) {
    let has_json = match &operation.request_body {
        Some(RefOr::T(body)) => body.content.contains_key("application/json"),
        _ => false,
    };
    let mut everywhere = ANYWHERE.to_vec();
    if operation.request_body.is_some() {
        everywhere.extend(WITH_JSON.iter().filter(|(status, _)| has_json || *status == 415));
    }
    if of_channel {
        everywhere.push((404, "`unknown_channel`: this gateway serves no such channel."));
        operation.parameters.get_or_insert_default().insert(0, RefOr::T(channel_name()));
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(Parameter { schema: Some(RefOr::T(Schema::Object(schema))), .. }) = parameter {
            say_range(schema);
        }
    }
    let responses = &mut operation.responses.responses;
    for (status, text) in everywhere {
        match responses.entry(status.to_string()).or_insert_with(|| RefOr::T(Response::new(""))) {
            // What a route says of a status itself comes first.
            RefOr::T(response) if response.description.is_empty() => response.description = text.to_owned(),
            RefOr::T(response) => response.description = format!("{} {text}", response.description),
            RefOr::Ref(_) => {}
        }
    }
    for (status, response) in responses.iter_mut() {
        let RefOr::T(response) = response else { continue };
        if of_channel {
            let height =
                HeaderBuilder::new().schema(number()).description(Some("The height that the answer is true at."));
            response.headers.insert("DMDL-Height".to_owned(), RefOr::T(height.build()));
        }
        if let Some(RefOr::T(events)) = response.content.get_mut(EVENTS) {
            // A schema would be one of a whole that never ends.
            events.schema = None;
        }
        if !status.starts_with('2') {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            response.content.insert(PROBLEM.to_owned(), RefOr::T(problem));
        }
    }
}

/// Lets a value be of several kinds at a time.
fn any_of(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::OneOf(one)) = schema {
        let any = one.items.drain(..).fold(AnyOfBuilder::new(), |any, kind| any.item(kind));
        *schema = any.into();
    }
}

/// Says how large a number may be: the format that is said of it has one bit less.
fn say_range(number: &mut Object) {
    if number.format == Some(SchemaFormat::KnownFormat(KnownFormat::Int64)) {
        number.format = None;
        number.maximum = Some(Number::UInt(usize::MAX));
    }
}

fn channel_name() -> Parameter {
    let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[a-z][a-z0-9-]{0,63}$"));
    ParameterBuilder::new()
        .name("c")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The channel's name."))
        .schema(Some(name))
        .example(Some("main".into()))
        .build()
}

fn number() -> Option<openapi::schema::Object> {
    Some(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn description() -> Value {
        serde_json::to_value(openapi()).unwrap()
    }

    fn calls(description: &Value) -> Vec<(String, String, Value)> {
        let paths = description["paths"].as_object().unwrap();
        let of = |(path, item): (&String, &Value)| {
            let item = item.as_object().unwrap().clone();
            item.into_iter().map(|(method, call)| (method, path.clone(), call)).collect::<Vec<_>>()
        };
        paths.iter().flat_map(of).collect()
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(members) => members.iter().for_each(|(name, value)| match (name.as_str(), value) {
                    ("$ref", Value::String(to)) => found.push(to.clone()),
                    _ => references(value, found),
                }),
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let description = description();
        let mut found = Vec::new();
        references(&description, &mut found);
        assert!(found.len() > 100, "{}", found.len());
        for to in found {
            let pointer = to.strip_prefix('#').unwrap();
            assert!(description.pointer(pointer).is_some(), "{to}");
        }
    }

    #[test]
    fn every_failure_is_a_problem_and_every_call_has_a_name_of_its_own() {
        let mut names = std::collections::BTreeSet::new();
        for (method, path, call) in calls(&description()) {
            assert!(names.insert(call["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
            let responses = call["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
            for (status, response) in responses.iter().filter(|(status, _)| !status.starts_with('2')) {
                assert!(response["content"][PROBLEM].is_object(), "{method} {path} {status}");
            }
            for (status, _) in ANYWHERE {
                assert!(responses.contains_key(&status.to_string()), "{method} {path} {status}");
            }
        }
        assert_eq!(names.len(), 43);
    }

    #[test]
    fn what_is_read_for_somebody_on_a_channel_may_be_asked_for_fresh_and_nothing_else_may() {
        let fresh = |call: &Value| {
            call["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == consistency::PARAMETER))
        };
        for (method, path, call) in calls(&description()) {
            let is_public = call["security"] == serde_json::json!([{}]);
            let reads = method == "get" || path.ends_with("/query");
            let wanted = reads && !is_public && path.contains("{c}") && path != "/v1/channels/{c}/events";
            assert_eq!(fresh(&call), wanted, "{method} {path}");
        }
    }

    #[test]
    fn what_a_path_names_is_described() {
        for (method, path, call) in calls(&description()) {
            let empty = Vec::new();
            let parameters = call["parameters"].as_array().unwrap_or(&empty);
            let in_path = |name: &str| {
                let mut named =
                    parameters.iter().filter(|parameter| parameter["in"] == "path" && parameter["name"] == name);
                named.next().is_some_and(|parameter| parameter["required"] == true) && named.next().is_none()
            };
            let names: Vec<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
            assert!(names.iter().all(|name| in_path(name)), "{method} {path}: {parameters:?}");
            let count = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(count, names.len(), "{method} {path}");
        }
    }

    #[test]
    fn only_what_is_public_goes_without_a_signature() {
        let public =
            calls(&description()).into_iter().filter(|(_, _, call)| call["security"] == serde_json::json!([{}]));
        let public: Vec<String> = public.map(|(method, path, _)| format!("{method} {path}")).collect();
        assert_eq!(
            public,
            [
                "get /",
                "get /healthz",
                "get /metrics",
                "get /readyz",
                "get /v1/channels",
                "get /v1/channels/{c}/audit/checkpoint",
                "get /v1/channels/{c}/audit/proof",
                "get /v1/channels/{c}/configurations",
                "get /v1/channels/{c}/members",
                "get /v1/channels/{c}/reputation",
                "get /v1/channels/{c}/status",
                "post /v1/channels/{c}/transactions",
                "get /v1/openapi.json",
            ]
        );
    }
}
