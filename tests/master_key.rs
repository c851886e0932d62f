//! The master key on the command line: where it comes from, and what is said without it.

use std::process::{Command, Output};

fn key(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// Runs the binary on a data folder, with a master key from one of its places.
fn medley(data: &std::path::Path, variables: &[(&str, String)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_medley"))
        .args(arguments)
        .arg("--data-dir")
        .arg(data)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn behaviour_is_encrypted_and_its_key_changed_by_commands() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path();
    let text = |digit| [("MEDLEY_ENCRYPTION__MASTER_KEY", key(digit))];
    std::fs::write(folder.join("events.ndjson"), r#"{"user_id":"ann","item_id":"a","type":"like"}"#).unwrap();
    let file = folder.join("events.ndjson").display().to_string();
    let import = ["import", "events", &file];
    assert!(medley(folder, &[], &import).status.success());

    let refused = medley(folder, &text('a'), &["migrate"]);
    assert!(!refused.status.success() && said(&refused).contains("medley encryption start"), "{}", said(&refused));
    let started = medley(folder, &text('a'), &["encryption", "start"]);
    assert!(started.status.success() && said(&started).contains("1 events"), "{}", said(&started));
    assert!(medley(folder, &text('a'), &["compact"]).status.success());

    // From a file, and changed.
    let (old, new) = (folder.join("old.key"), folder.join("new.key"));
    std::fs::write(&old, format!("{}\n", key('a'))).unwrap();
    std::fs::write(&new, key('b')).unwrap();
    let from_file = [("MEDLEY_ENCRYPTION__MASTER_KEY_FILE", old.display().to_string())];
    let changed = medley(folder, &from_file, &["encryption", "change-key", "--new-key-file", new.to_str().unwrap()]);
    assert!(changed.status.success(), "{}", said(&changed));
    let refused = medley(folder, &from_file, &["export", "events"]);
    assert!(!refused.status.success() && said(&refused).contains("not the one"), "{}", said(&refused));
    let refused = medley(folder, &[], &["serve", "--address", "127.0.0.1:0"]);
    assert!(!refused.status.success() && said(&refused).contains("master key is needed"), "{}", said(&refused));

    // From a command, such as the client of a key management service.
    let command = |program: &str| [("MEDLEY_ENCRYPTION__MASTER_KEY_COMMAND", program.to_owned())];
    let exported = medley(folder, &command(&format!("[\"cat\", \"{}\"]", new.display())), &["export", "events"]);
    assert!(exported.status.success() && said(&exported).contains("ann"), "{}", said(&exported));
    for (program, reason) in [
        ("[\"false\"]", "has failed"),
        ("[\"no-such-program-anywhere\"]", "cannot be run"),
        ("[\"echo\", \"short\"]", "32 bytes"),
    ] {
        let refused = medley(folder, &command(program), &["export", "events"]);
        assert!(!refused.status.success() && said(&refused).contains(reason), "{}", said(&refused));
    }
    let both = [text('b')[0].clone(), from_file[0].clone()];
    assert!(said(&medley(folder, &both, &["config"])).contains("one of master_key"));
}
