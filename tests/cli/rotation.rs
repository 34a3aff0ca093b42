//! A client key is changed without a gap, and the old one is deleted when nobody uses it any more.

use std::path::Path;
use std::time::{Duration, Instant};

use keystead::wire::instance_protocol::GenerateRandomRequest;

use crate::client::Client;
use crate::installation::{Installation, text};
use crate::sending::{code_of, connect, request};

/// How long the server may take to know a client key.
const PATIENCE: Duration = Duration::from_secs(30);

/// Has a request accepted that the client signs.
fn use_it(installation: &Installation, client: &Client) {
    let endpoint = installation.endpoint(&installation.software);
    let message = GenerateRandomRequest { length: 8 };
    let request = request(client.sign(&endpoint, "GenerateRandom", &message));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = connect(client, &endpoint).await;
        let begun = Instant::now();
        while code_of(connection.send_request(request.clone()).await.unwrap()).await != "OK" {
            assert!(begun.elapsed() < PATIENCE, "the client key is not known");
            connection.ready().await.unwrap();
        }
    });
}

/// Makes a further client key of `app`.
fn rotate(installation: &Installation, out: &Path, trusted: &Path) -> (Client, String) {
    let rotated = installation.run(&["client-key", "rotate", "--aap", "app", "--out", out.to_str().unwrap()]);
    assert!(rotated.status.success(), "{}", text(&rotated));
    (Client::handed_out(out, trusted), text(&rotated))
}

#[test]
fn a_client_key_is_changed_without_a_gap() {
    let installation = Installation::new();
    let server = installation.serve();
    let [first, second, third] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let finish = ["client-key", "rotate", "--aap", "app", "--finish"];
    let old = Client::of(&installation, &installation.software, first.path());
    assert!(text(&installation.run(&finish)).contains("nothing to finish"));

    // Nobody holds the old one: it goes when the new one is used.
    let (new, told) = rotate(&installation, second.path(), first.path());
    assert!(
        told.contains(&format!("{}, until", old.id)) && told.contains("last used: never") && told.contains("--finish"),
        "{told}"
    );
    let early = installation.refusal(&finish);
    assert!(early.contains(&new.id) && early.contains("not used yet") && early.contains("Nothing was deleted"), "{early}");
    use_it(&installation, &new);
    // What was used is in the store when the server ends, and every few seconds before.
    assert!(server.end().0);
    let finished = installation.run(&finish);
    assert!(finished.status.success() && text(&finished).contains(&old.id), "{}", text(&finished));

    // Somebody holds the old one: it stays.
    let server = installation.serve();
    let (newest, told) = rotate(&installation, third.path(), first.path());
    assert!(told.contains(&new.id) && !told.contains("never"), "{told}");
    use_it(&installation, &new);
    use_it(&installation, &newest);
    assert!(server.end().0);
    let busy = installation.refusal(&finish);
    assert!(busy.contains(&new.id) && busy.contains("less than 24 hours") && busy.contains("client-key delete"), "{busy}");
    let listed = text(&installation.run(&["client-key", "list", "--aap", "app"]));
    assert!(listed.contains(&new.id) && listed.contains(&newest.id) && !listed.contains("never"), "{listed}");
}
