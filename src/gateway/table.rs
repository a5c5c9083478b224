//! The routes as their description tells them: what is not described is not served.

use super::{
    consistency::{self, Asked},
    error::ApiError,
};
use http::{HeaderMap, HeaderValue, Method, header};
use utoipa::openapi::{
    OpenApi, RefOr,
    path::{Operation, ParameterIn},
};

/// The routes of a gateway.
#[derive(Debug)]
pub(super) struct Routes(Vec<Route>);

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    /// The path with names in braces, for logs and counters.
    pub(super) template: String,
    calls: Vec<Call>,
}

/// What can be done at a route.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    /// The media types of its answers, of those that say that things went well.
    answers: Vec<String>,
    /// Whether its query says anything of its own.
    queried: bool,
    /// Whether its query may say how fresh the answer has to be.
    reads: bool,
    /// Whether it keeps something on this node's disk: then its description says that the disk may be full.
    keeps: bool,
}

impl Routes {
    pub(super) fn of(description: &OpenApi) -> Self {
        let routes = description.paths.paths.iter().map(|(template, item)| {
            let calls = [
                (Method::GET, &item.get),
                (Method::HEAD, &item.head),
                (Method::POST, &item.post),
                (Method::PUT, &item.put),
            ];
            let calls = calls.into_iter().filter_map(|(method, call)| Some(Call::of(method, call.as_ref()?)));
            Route { template: template.clone(), calls: calls.collect() }
        });
        Self(routes.collect())
    }

    /// The route of a path, and its number; of two that fit, the one with more words of its own.
    pub(super) fn find(&self, path: &str) -> Option<(usize, &Route)> {
        let fits = |(number, route): (usize, _)| Some((route_fit(route, path)?, number, route));
        let best = self.0.iter().enumerate().filter_map(fits).max_by_key(|(fit, ..)| *fit);
        best.map(|(_, number, route)| (number, route))
    }

    /// All templates, in the order of their numbers.
    pub(super) fn templates(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|route| route.template.as_str())
    }
}

impl Route {
    /// What this method does here; what can be got can also be asked for without its body.
    ///
    /// # Errors
    /// 405, with the methods that there are.
    pub(super) fn call(&self, method: &Method) -> Result<&Call, ApiError> {
        let with = |method: &Method| self.calls.iter().find(|call| call.method == *method);
        let call = with(method).or_else(|| if *method == Method::HEAD { with(&Method::GET) } else { None });
        call.ok_or_else(|| self.wrong_method())
    }

    /// The problem of a method that is not there, with those that are.
    pub(super) fn wrong_method(&self) -> ApiError {
        let mut names: Vec<&str> = self.calls.iter().map(|call| call.method.as_str()).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        wrong_method(&names.join(", "))
    }
}

impl Call {
    fn of(method: Method, operation: &Operation) -> Self {
        let responses = operation.responses.responses.iter();
        let answers =
            responses.filter(|(status, _)| status.starts_with('2')).flat_map(|(_, response)| match response {
                RefOr::T(response) => response.content.keys().cloned().collect(),
                RefOr::Ref(_) => Vec::new(),
            });
        let in_query = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
            RefOr::T(parameter) if matches!(parameter.parameter_in, ParameterIn::Query) => Some(&*parameter.name),
            _ => None,
        });
        let (fresh, own): (Vec<&str>, Vec<&str>) = in_query.partition(|name| *name == consistency::PARAMETER);
        let keeps = operation.responses.responses.get("507").is_some_and(|response| match response {
            RefOr::T(response) => response.description.contains("`storage_full`"),
            RefOr::Ref(_) => false,
        });
        Self { method, answers: answers.collect(), queried: !own.is_empty(), reads: !fresh.is_empty(), keeps }
    }

    /// How fresh the answer has to be.
    ///
    /// # Errors
    /// 400 `bad_query`.
    pub(super) fn freshness(&self, query: Option<&str>) -> Result<Asked, ApiError> {
        if self.reads { Asked::of(query) } else { Ok(Asked::default()) }
    }

    /// Whether it keeps something on this node's disk.
    pub(super) const fn keeps(&self) -> bool {
        self.keeps
    }

    /// Checks that the caller takes what this call answers, and asks nothing that it does not know.
    ///
    /// # Errors
    /// 406, or 400 `bad_query`.
    pub(super) fn check(&self, headers: &HeaderMap, query: Option<&str>) -> Result<(), ApiError> {
        if !self.answers.is_empty() && !self.answers.iter().any(|answer| accepts(headers, answer)) {
            let detail = format!("this is only answered as `{}`", self.answers.join("`, `"));
            return Err(ApiError::new(406, "not_acceptable", detail));
        }
        if !self.queried && query.is_some_and(|query| !query.is_empty()) {
            return Err(ApiError::new(400, "bad_query", "this route has no query"));
        }
        Ok(())
    }
}

/// The problem of a method that is not there, where these are.
pub(super) fn wrong_method(allowed: &str) -> ApiError {
    let error = ApiError::new(405, "method_not_allowed", "the method is not allowed here");
    match HeaderValue::from_str(allowed) {
        Ok(allowed) => error.with_header(header::ALLOW, allowed),
        Err(_) => error,
    }
}

/// How many words of its own a route shares with a path, if they fit together.
fn route_fit(route: &Route, path: &str) -> Option<usize> {
    let (mut words, mut names) = (0, path.split('/'));
    for part in route.template.split('/') {
        let name = names.next()?;
        if part == name {
            words += 1;
        } else if !part.starts_with('{') || name.is_empty() {
            return None;
        }
    }
    names.next().is_none().then_some(words)
}

/// Whether a caller takes a media type; who says nothing takes everything.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut ranges =
        headers.get_all(header::ACCEPT).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let kind = media_type.split('/').next().unwrap_or_default();
    let (mut said, mut best) = (false, (0, true));
    ranges.by_ref().for_each(|range| {
        let range = String::from_utf8_lossy(range).to_ascii_lowercase();
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        if name.is_empty() {
            return;
        }
        // The most precise range decides.
        let precision = match name.strip_suffix("/*") {
            _ if name == media_type => 3,
            Some(wild) if wild == kind => 2,
            Some("*") => 1,
            _ => 0,
        };
        let taken = !parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32)));
        (said, best) = (true, best.max((precision, precision > 0 && taken)));
    });
    !said || (best.0 > 0 && best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;
    use serde_json::json;

    fn routes() -> Routes {
        let ok = json!({ "200": { "description": "", "content": { "application/json": {} } } });
        let query = json!([{ "name": "limit", "in": "query", "required": false }]);
        let description = json!({
            "openapi": "3.1.0", "info": { "title": "", "version": "" },
            "paths": {
                "/v1/channels/{c}/records/{id}": { "get": { "responses": ok } },
                "/v1/channels/{c}/records/new": { "post": { "responses": { "204": { "description": "" } } } },
                "/v1/channels/{c}/records": { "get": { "responses": ok, "parameters": query } },
            },
        });
        Routes::of(&serde_json::from_value(description).unwrap())
    }

    #[test]
    fn a_path_is_found_by_its_words() {
        let routes = routes();
        let found = |path: &str| routes.find(path).map(|(_, route)| route.template.clone());
        assert_eq!(found("/v1/channels/main/records/aa").as_deref(), Some("/v1/channels/{c}/records/{id}"));
        assert_eq!(found("/v1/channels/main/records/new").as_deref(), Some("/v1/channels/{c}/records/new"));
        assert_eq!(found("/v1/channels/main/records").as_deref(), Some("/v1/channels/{c}/records"));
        for none in
            ["/", "/v1", "/v1/channels/main/records/", "/v1/channels/main/records/aa/b", "/v1/channels//records"]
        {
            assert_eq!(found(none), None, "{none}");
        }
    }

    #[test]
    fn a_method_that_is_not_there_is_told_which_are() {
        let routes = routes();
        let (_, route) = routes.find("/v1/channels/main/records").unwrap();
        assert!(route.call(&Method::GET).is_ok() && route.call(&Method::HEAD).is_ok());
        let response = route.call(&Method::PUT).unwrap_err().into_response();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
    }

    #[test]
    fn a_query_is_only_for_who_reads_it() {
        let routes = routes();
        let check = |path: &str, query| {
            let (_, route) = routes.find(path).unwrap();
            route.call(&Method::GET).unwrap().check(&HeaderMap::new(), query).is_ok()
        };
        assert!(check("/v1/channels/main/records", Some("limit=1")));
        assert!(check("/v1/channels/main/records/aa", None));
        assert!(!check("/v1/channels/main/records/aa", Some("limit=1")));
    }

    #[test]
    fn who_takes_no_json_gets_none() {
        let accepts = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, value.parse().unwrap());
            super::accepts(&headers, "application/json")
        };
        for good in [
            "",
            "*/*",
            "application/*",
            "application/json",
            "text/xml, APPLICATION/JSON;q=0.1",
            "text/html,*/*;q=0.8",
            "application/json;q=0.5, */*;q=0",
        ] {
            assert!(accepts(good), "{good}");
        }
        for bad in [
            "text/xml",
            "application/json;q=0",
            "*/*, application/json;q=0.0",
            "text/*",
            "application/jsonx",
            "*/*;q=0",
        ] {
            assert!(!accepts(bad), "{bad}");
        }
        assert!(super::accepts(&HeaderMap::new(), "application/json"));
    }
}
