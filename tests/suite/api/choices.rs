//! How a registered call is to be recognised: what the server takes, and what it refuses.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use asterscribe_testkit::Response;
use asterscribe_testkit::server::Server;
use serde_json::{Value, json};

use crate::api::rig::{
    BINARY, Conversation, assert_problem, assert_word_for_word, await_complete, get, hang_up,
};

fn register(server: &Server, call: &str, leg: &str, port: u16, recognition: &Value) -> Response {
    let body = json!({
        "source": format!("127.0.0.1:{port}"), "leg": leg, "format": "ulaw", "recognition": recognition
    });
    let path = format!("/api/call/{call}/media");
    server.post(&path, &body).unwrap()
}

#[test]
fn what_the_model_cannot_do_is_refused_and_opens_no_call() {
    let server = Server::start(BINARY, &[]).unwrap();
    for (bad, status, kind, told) in [
        (
            json!({"language": "de"}),
            422,
            "unprocessable",
            "knows English only",
        ),
        (
            json!({"language": "auto"}),
            422,
            "unprocessable",
            "knows English only",
        ),
        (
            json!({"language": "en,de"}),
            422,
            "unprocessable",
            "knows English only",
        ),
        (
            json!({"translate": true}),
            422,
            "unprocessable",
            "does not translate",
        ),
        (
            json!({"language": "xx"}),
            422,
            "invalid-body",
            "not a language",
        ),
        (
            json!({"numbers": "words"}),
            422,
            "invalid-body",
            "as the model writes them",
        ),
        (json!({"mood": "good"}), 422, "invalid-body", "mood"),
    ] {
        let answer = register(&server, "bad", "caller", 9, &bad);
        assert_problem(&answer, "/api/call/bad/media", status, kind);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(told), "{detail}");
    }
    let path = "/api/call/bad/transcribe";
    let body = json!({"recognition": {"language": "de"}});
    // Without Asterisk that is said first.
    let answer = server.post(path, &body).unwrap();
    assert_problem(&answer, path, 503, "asterisk-unavailable");
    assert_eq!(server.get("/api/call/bad/status").unwrap().status, 404);
}

#[test]
fn what_is_taken_is_told_and_holds_for_the_whole_call() {
    let mut server = Server::start(BINARY, &[]).unwrap();
    let chosen =
        json!({"language": "en", "prompt": "Kowalski", "partials": false, "numbers": "model"});
    let answer = register(&server, "one", "caller", 9, &chosen);
    assert_eq!(answer.status, 201, "{}", answer.text);
    let status = get(&server, "/api/call/one/status");
    assert_eq!(status["recognition"], chosen);
    let note = status["notes"][0].as_str().unwrap();
    assert!(note.contains("the prompt is not used"), "{status}");
    let other = json!({"language": "en"});
    let answer = register(&server, "one", "callee", 11, &other);
    assert_problem(&answer, "/api/call/one/media", 409, "conflict");
    for (leg, port, same) in [("callee", 11, &chosen), ("third", 13, &json!({}))] {
        let answer = register(&server, "one", leg, port, same);
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
    // Another call knows nothing of it.
    assert_eq!(
        register(&server, "two", "caller", 15, &json!({})).status,
        201
    );
    let status = get(&server, "/api/call/two/status");
    assert!(status["recognition"].is_null(), "{status}");
    for call in ["one", "two"] {
        hang_up(&server, call);
        await_complete(&server, call);
    }
    assert!(
        !format!("{:?}", server.log()).contains("Kowalski"),
        "nothing for the log"
    );
    server.terminate().unwrap();
    server.restart().unwrap();
    let status = get(&server, "/api/call/one/status");
    assert_eq!(status["recognition"], chosen, "after a restart");
}

#[test]
fn a_conversation_with_a_prompt_loses_no_word_to_the_demo_model() {
    let server = Server::start(BINARY, &[("PARTIAL_RESULTS", "off")]).unwrap();
    // The call is there, with its choices, before the parties of the recording are registered.
    let chosen = json!({"prompt": "thank you goodbye thank you goodbye", "partials": true});
    assert_eq!(register(&server, "talk", "extra", 9, &chosen).status, 201);
    let conversation = Conversation::register(&server, "talk");
    conversation.play();
    hang_up(&server, "talk");
    let transcript = await_complete(&server, "talk");
    assert_word_for_word(&conversation, &transcript);
}
