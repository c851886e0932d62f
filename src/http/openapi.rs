//! The OpenAPI 3.1 document: what the handlers say of themselves, plus what holds for all of them.

use serde_json::{Map, Value, json};
use utoipa::openapi::{Info, OpenApi, OpenApiBuilder};

use super::problem::Problem;
use super::{router, schemas};
use crate::domain::Domain;

/// The document of a service with these domains and large-model providers.
#[must_use]
pub fn openapi(domains: &[Domain], providers: &[&str]) -> Value {
    let mut document = serde_json::to_value(router::documented()).unwrap_or_default();
    document["security"] = json!([{}, {"key": []}]);
    let components = &mut document["components"];
    components["securitySchemes"] = json!({"key": {"type": "http", "scheme": "bearer",
        "description": "`mk_<id>_<secret>` as made by `medley keys create`. None is needed while the service has none: then it listens on loopback only."}});
    for (name, schema) in schemas::all(domains, providers) {
        components["schemas"][name] = schema;
    }
    let mut problem = Map::new();
    for (name, schema) in problem_schemas() {
        problem.insert(name, schema);
    }
    if let Some(all) = components["schemas"].as_object_mut() {
        all.extend(problem);
    }
    components["responses"] = json!({"Problem": {
        "description": "What went wrong (RFC 9457)",
        "headers": Map::from_iter(headers(true).into_iter().map(|(name, header)| (name.to_owned(), header))),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }});
    for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            complete(path, method, operation, domains);
        }
    }
    document
}

/// What the document begins with.
pub fn base() -> OpenApi {
    let mut info = Info::new("Medley", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Ranked music, movies and games, from tastes or from what a person did. A JSON body is read as JSON whatever its \
         Content-Type, or with none. Unknown fields are refused. Errors are problem documents (RFC 9457) that name the \
         field by a JSON pointer (`/path/…` and `/query/…` for parts of the URL)."
            .to_owned(),
    );
    OpenApiBuilder::new().info(info).build()
}

fn problem_schemas() -> Vec<(String, Value)> {
    use utoipa::{PartialSchema, ToSchema};
    let mut found = Vec::new();
    Problem::schemas(&mut found);
    found.push((Problem::name().into_owned(), Problem::schema()));
    found.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default())).collect()
}

/// The headers that any answer may have.
fn headers(guarded: bool) -> Vec<(&'static str, Value)> {
    let header = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    let mut headers = vec![("x-request-id", header("The id of this request: the caller's, or a new one."))];
    if guarded {
        headers.push((
            "RateLimit-Policy",
            header("The limits of the key, where it has any: so many requests (`q`) in so many seconds (`w`)."),
        ));
        headers.push((
            "RateLimit",
            header("How they stand: so many requests are left (`r`), and after so many seconds (`t`) all are."),
        ));
    }
    headers
}

/// Adds what no handler needs to say: ids and limits of parameters, the problems that any request may run into.
fn complete(path: &str, method: &str, operation: &mut Value, domains: &[Domain]) {
    let guarded = path.starts_with("/api/");
    let has_body = operation.get("requestBody").is_some();
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let is_user_events = path.ends_with("/events");
        parameter["schema"] = match parameter["name"].as_str() {
            Some("domain") if path.ends_with("/similar") => json!({"type": "array", "items": schemas::domain(domains)}),
            Some("domain") => schemas::domain(domains),
            Some("Accept-Language") => json!({"type": "string", "examples": ["de-AT, en;q=0.5"]}),
            Some("q") => schemas::text(256),
            Some("cursor") => json!({"type": "string", "minLength": 2, "maxLength": 1_200, "pattern": "^[0-9a-f]+$"}),
            Some("limit") => {
                json!({"type": "integer", "minimum": 1, "maximum": if is_user_events { 1_000 } else { 200 }})
            }
            _ => schemas::id(),
        };
    }
    if has_body {
        let optional = path == "/api/recommend";
        operation["requestBody"]["required"] = json!(!optional);
        let content = &mut operation["requestBody"]["content"];
        if path == "/api/items" {
            content["application/x-ndjson"] = json!({"schema": {"type": "string", "description": "One item a line"}});
        }
    }
    if !guarded && path != "/metrics" {
        operation["security"] = json!([]);
    }
    let problem = json!({"$ref": "#/components/responses/Problem"});
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, response) in responses.iter_mut() {
        if status.starts_with('4') {
            *response = problem.clone();
        } else {
            for (name, header) in headers(guarded) {
                response["headers"][name] = header;
            }
        }
    }
    let mut add = |applies: bool, statuses: &[&str]| {
        for status in statuses.iter().filter(|_| applies) {
            responses.entry(*status).or_insert_with(|| problem.clone());
        }
    };
    // A body that comes with a request is read, whatever the method; that of a GET is not looked at.
    add(guarded, &["401", "403", "408", "413", "422", "429", "500", "503"]);
    add(guarded && method != "get", &["400"]);
    // Where a key is asked for, it may not be known yet.
    add(path == "/metrics", &["503"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        openapi(&["music", "movie", "game", "book"].map(|name| Domain::new(name).unwrap()), &[])
    }

    #[test]
    fn it_is_3_1_and_every_reference_leads_somewhere() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn what_may_happen_to_any_request_is_listed() {
        let document = document();
        let paths = document["paths"].as_object().unwrap().iter();
        for (path, operations) in paths.filter(|(path, _)| path.starts_with("/api/")) {
            for (method, operation) in operations.as_object().unwrap() {
                for status in ["401", "403", "408", "413", "422", "429", "500", "503"] {
                    assert!(operation["responses"][status].is_object(), "{method} {path} {status}");
                }
                assert_eq!(operation["responses"]["400"].is_object(), method != "get", "{method} {path}");
            }
        }
    }

    #[test]
    fn domains_are_fields() {
        let document = document();
        for name in ["RecommendRequest", "RecommendAnswer", "Filter"] {
            assert!(document["components"]["schemas"][name]["properties"]["book"].is_object(), "{name}");
        }
    }

    #[test]
    fn the_routes_of_the_contract_are_described() {
        let document = document();
        for (path, methods) in [
            ("/api/recommend", "post"),
            ("/api/items", "get post"),
            ("/api/items/{id}", "get put patch delete"),
            ("/api/items/{id}/similar", "get"),
            ("/api/events", "post"),
            ("/api/users/{id}", "delete"),
            ("/api/users/{id}/events", "get"),
            ("/api/users/{id}/export", "get"),
            ("/api/users/{id}/merge", "post"),
            ("/api/models", "get"),
            ("/api/models/train", "post"),
            ("/api/models/{version}/activate", "post"),
            ("/api/jobs/{id}", "get"),
            ("/api/providers", "get"),
            ("/api/evaluations", "get"),
            ("/api/evaluations/{id}", "get"),
            ("/livez", "get"),
            ("/readyz", "get"),
            ("/metrics", "get"),
            ("/openapi.json", "get"),
            ("/docs", "get"),
            ("/", "get"),
        ] {
            for method in methods.split(' ') {
                assert!(document["paths"][path][method]["responses"].is_object(), "{method} {path}");
            }
        }
    }
}
