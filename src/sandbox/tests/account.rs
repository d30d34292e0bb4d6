//! Changes of the account while the sandbox runs, and what the sandbox reports.

use super::client::{call, start};

#[tokio::test]
async fn deleting_a_role_revokes_its_credentials_for_good() {
    let sandbox = start().await;
    let role = sandbox.role_arn();
    let session = call(&sandbox, "AssumeRole").send(&sandbox).await;
    let identity = || call(&sandbox, "GetCallerIdentity").by_session(&session);
    assert_eq!(identity().send(&sandbox).await.status, 200);

    assert!(sandbox.delete_role(&role));
    assert!(!sandbox.delete_role(&role));
    let unknown_key = (404, "InvalidAccessKeyId.NotFound".to_owned());
    assert_eq!(identity().send(&sandbox).await.outcome(), unknown_key);
    assert!(
        sandbox
            .issued(&session.at("/Credentials/AccessKeyId"))
            .is_none()
    );
    let reply = call(&sandbox, "AssumeRole").send(&sandbox).await;
    assert_eq!(reply.outcome(), (404, "EntityNotExist.Role".to_owned()));
    assert_eq!(reply.at("/Message"), "The specified Role not exists .");

    assert!(sandbox.restore_role(&role));
    assert_eq!(
        call(&sandbox, "AssumeRole").send(&sandbox).await.status,
        200
    );
    assert_eq!(identity().send(&sandbox).await.outcome(), unknown_key);
}

#[tokio::test]
async fn the_record_describes_requests_and_contains_no_secret() {
    let sandbox = start().await;
    call(&sandbox, "AssumeRole").send(&sandbox).await;
    call(&sandbox, "GetCallerIdentity")
        .with("Version", "1")
        .send(&sandbox)
        .await;
    let odd = call(&sandbox, "Nonsense").with("AccessKeyId", "not/an+id");
    odd.send(&sandbox).await;

    sandbox.wait_for_requests(3).await;
    assert_eq!(sandbox.request_count(), 3);
    let requests = sandbox.requests();
    let recorded: Vec<_> = requests
        .iter()
        .map(|request| (request.action, request.status, request.code.as_deref()))
        .collect();
    let expected = [
        (Some("AssumeRole"), Some(200), None),
        (
            Some("GetCallerIdentity"),
            Some(400),
            Some("InvalidParameter"),
        ),
        (None, Some(404), Some("InvalidApi.NotFound")),
    ];
    assert_eq!(recorded, expected);
    assert_eq!(requests[0].access_key_id, Some(sandbox.access_key_id()));
    assert_eq!(requests[2].access_key_id, None);
}

#[tokio::test]
async fn debug_output_contains_no_secret() {
    use secrecy::ExposeSecret as _;

    let sandbox = start().await;
    let reply = call(&sandbox, "AssumeRole").send(&sandbox).await;
    let issued = sandbox
        .issued(&reply.at("/Credentials/AccessKeyId"))
        .unwrap();
    let shown = format!(
        "{sandbox:?} {issued:?} {:?} {:?}",
        sandbox.access_key(),
        sandbox.requests()
    );
    for secret in [
        sandbox.access_key_secret(),
        issued.access_key_secret,
        issued.security_token,
    ] {
        assert!(!shown.contains(secret.expose_secret()), "{shown}");
    }
}
