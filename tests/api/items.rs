//! The catalogue: written, read, listed, gone.

use serde_json::json;

use super::app::{TestApp, ids};

#[tokio::test]
async fn an_item_lives_from_put_to_delete() {
    let app = TestApp::start().await;
    let body = json!({"domain": "movie", "title": "Metropolis", "genres": ["science fiction"], "released": "1927",
        "attributes": {"language": "de", "country": ["DE"]}, "description": "A city.\nAbove and below."});
    let created = app.call("PUT", "/api/items/m%2F1%20科", body.to_string()).await;
    assert_eq!(created.header("location"), "/api/items/m%2F1%20%E7%A7%91");
    let created = created.expect(201);
    assert_eq!(created["id"], "m/1 科");
    assert_eq!(created["released"], "1927-01-01");
    assert_eq!(created["attributes"]["language"], json!(["de"]));
    assert_eq!(created["available"], true);
    assert_eq!(created["creators"], json!([]));
    let path = "/api/items/m%2F1%20%E7%A7%91";
    assert_eq!(app.get(path).await.expect(200), created);
    // What was read can be written back.
    assert_eq!(app.call("PUT", path, created.to_string()).await.expect(200), created);

    let ask = json!({"movie": ["science fiction"], "domains": ["movie"], "limit": 1});
    assert_eq!(ids(&app.recommend(&ask).await["movie"]), ["m/1 科"], "the very next answer knows it");

    let patch = json!({"description": null, "attributes": {"country": null, "colour": "none"}, "tags": ["silent"]});
    let patched = app.call("PATCH", path, patch.to_string()).await.expect(200);
    assert!(patched.get("description").is_none());
    assert_eq!(patched["attributes"], json!({"language": ["de"], "colour": ["none"]}));
    assert_eq!(patched["tags"], json!(["silent"]));
    assert_eq!(patched["genres"], json!(["science fiction"]), "what is not named stays");

    app.call("PATCH", path, r#"{"available": false}"#).await.expect(200);
    assert_ne!(ids(&app.recommend(&ask).await["movie"]), ["m/1 科"], "hidden at once");
    app.call("PATCH", path, r#"{"available": true}"#).await.expect(200);
    assert_eq!(ids(&app.recommend(&ask).await["movie"]), ["m/1 科"]);
    let gone = app.call("DELETE", path, "").await;
    assert!(gone.bytes.is_empty());
    gone.expect(204);
    assert_ne!(ids(&app.recommend(&ask).await["movie"]), ["m/1 科"], "gone at once");
    assert_eq!(app.get(path).await.problem(404), [""; 0]);
    app.call("DELETE", path, "").await.problem(404);
    app.call("PATCH", path, "{}").await.problem(404);
}

#[tokio::test]
async fn a_batch_tells_what_became_of_each_row() {
    let app = TestApp::start().await;
    let rows = json!([
        {"id": "b1", "domain": "game", "title": "One"},
        {"id": "b2", "domain": "gaem", "title": "Two"},
        {"domain": "game", "title": "Three"},
        {"id": "b1", "domain": "game", "title": "One"},
        {"id": "b1", "domain": "game", "title": "One, again"},
        7,
    ]);
    let answer = app.post("/api/items", &rows).await.expect(200);
    let statuses: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["created", "rejected", "rejected", "unchanged", "updated", "rejected"]);
    assert!(answer["results"][1]["detail"].as_str().unwrap().contains("did you mean `game`?"), "{answer}");
    assert_eq!(answer["results"][0]["item_id"], "b1");
    assert_eq!([&answer["created"], &answer["updated"], &answer["unchanged"], &answer["rejected"]], [1, 1, 1, 3]);

    let lines = "{\"id\": \"n1\", \"domain\": \"music\", \"title\": \"One\"}\n\n{broken\n{\"id\": \"n2\", \"domain\": \"music\", \"title\": \"Two\"}\n";
    let answer = app.call("POST", "/api/items", lines).await.expect(200);
    assert_eq!([&answer["created"], &answer["rejected"]], [2, 1]);
    assert_eq!(answer["results"][1]["index"], 1);

    let all_bad = json!([{"id": "c1", "domain": "game"}, {"id": "c2", "domain": "game", "title": 5}]);
    assert_eq!(app.post("/api/items", &all_bad).await.problem(422), ["/0/title", "/1/title"]);
    let none = app.post("/api/items", &json!([])).await.expect(200);
    assert_eq!(none["results"], json!([]));
}

#[tokio::test]
async fn labels_with_blanks_around_them_do_not_escape_a_filter() {
    let app = TestApp::start().await;
    let rows = json!([
        {"id": "b1", "domain": "music", "title": "One", "genres": [" polka ", "polka", "waltz"]},
        {"id": "b2", "domain": "music", "title": " ", "genres": ["polka"]},
    ]);
    let answer = app.post("/api/items", &rows).await.expect(200);
    assert_eq!([&answer["results"][0]["status"], &answer["results"][1]["status"]], ["created", "rejected"]);
    assert!(answer["results"][1]["detail"].as_str().unwrap().starts_with("/title"), "{answer}");
    assert_eq!(app.get("/api/items/b1").await.expect(200)["genres"], json!(["polka", "waltz"]));
    app.call("PATCH", "/api/items/music-00", r#"{"genres": ["polka "], "creators": null}"#).await.expect(200);
    let filtered = async |filter: serde_json::Value| {
        let ask = json!({"domains": ["music"], "limit": 200, "filter": {"genres": filter}});
        ids(&app.recommend(&ask).await["music"])
    };
    let mut polka = filtered(json!({"any": ["polka"]})).await;
    polka.sort();
    assert_eq!(polka, ["b1", "music-00"]);
    assert!(filtered(json!({"none": ["polka"]})).await.iter().all(|id| !polka.contains(id)));
}

#[tokio::test]
async fn what_is_found_by_its_title_comes_first_on_each_page() {
    let app = TestApp::start().await;
    for (id, title, tag) in [
        ("a1", "Nothing", "Pokémon"),
        ("a2", "Pokemon Blue", "x"),
        ("a3", "Nothing", "pokemon"),
        ("a4", "Detective Pokémon", "x"),
        ("a5", "Snapokemon", "x"),
    ] {
        let body = json!({"domain": "game", "title": title, "tags": [tag]});
        app.call("PUT", &format!("/api/items/{id}"), body.to_string()).await.expect(201);
    }
    for (limit, query) in [(1, "pokemon"), (2, "POK%C3%89MON"), (3, "poke"), (50, "pokemon")] {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.get(&format!("/api/items?limit={limit}&q={query}{cursor}")).await.expect(200);
            found.extend(page["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(found, ["a2", "a4", "a1", "a3"], "{limit} {query}");
    }
}

#[tokio::test]
async fn lists_are_paged_and_searched() {
    let app = TestApp::start().await;
    let (mut found, mut path) = (Vec::new(), "/api/items?limit=7&domain=music".to_owned());
    loop {
        let page = app.get(&path).await.expect(200);
        found.extend(page["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/items?limit=7&domain=music&cursor={cursor}");
    }
    assert_eq!(found, (0..12).map(|number| format!("music-{number:02}")).collect::<Vec<_>>());
    let page = app.get("/api/items?q=creator%203%20horror").await.expect(200);
    assert_eq!(page["data"][0]["id"], "movie-08");
    for (query, pointer) in [
        ("limit=0", "/query/limit"),
        ("limit=-1", "/query/limit"),
        ("limit=9999", "/query/limit"),
        ("limit=ten", "/query/limit"),
        ("limit=1&limit=2", "/query/limit"),
        ("domain=film", "/query/domain"),
        ("domain=music&domain=movie", "/query/domain"),
        ("cursor=xyz", "/query/cursor"),
        ("q=", "/query/q"),
        ("q=%20%E3%80%80", "/query/q"),
        ("q=%00", "/query/q"),
        ("qq=rock", "/query/qq"),
    ] {
        let answer = app.get(&format!("/api/items?{query}")).await;
        assert_eq!(answer.problem(422), [pointer], "{query}");
    }
}

#[tokio::test]
async fn neighbours_are_found_across_domains() {
    let app = TestApp::start().await;
    let answer = app.get("/api/items/music-00/similar?limit=5").await.expect(200);
    let near = ids(&answer["data"]);
    assert!(near.len() <= 5 && !near.is_empty() && !near.contains(&"music-00".to_owned()), "{answer}");
    let games = app.get("/api/items/music-00/similar?domain=game&domain=movie").await.expect(200);
    assert!(games["data"].as_array().unwrap().iter().all(|item| item["domain"] != "music"), "{games}");
    app.get("/api/items/nothing/similar").await.problem(404);
    assert_eq!(app.get("/api/items/music-00/similar?domain=film").await.problem(422), ["/query/domain"]);
    assert_eq!(app.get("/api/items/music-00/similar?limit=201").await.problem(422), ["/query/limit"]);
}
