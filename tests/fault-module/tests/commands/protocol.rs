//! The socket: lines, answers, several at once; and `counts`, `state`, `help`, `clear`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use crate::{World, apart};
use cryptoki_sys::*;

#[test]
fn one_line_is_answered_by_one_line() {
    apart(|| {
        let World { fault, .. } = World::here();
        let [(_, path)] = fault.environment();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mut connection = UnixStream::connect(&path).unwrap();
        let mut answers = BufReader::new(connection.try_clone().unwrap()).lines().map(Result::unwrap);
        connection.write_all(b"reset-counts\nnonsense\n\nhelp\r\n\xff\nfail C_Sign CKR_DEVICE_ERROR\n").unwrap();
        assert_eq!(answers.next().unwrap(), "ok");
        assert!(answers.next().unwrap().starts_with("error nonsense is no command"));
        assert_eq!(answers.next().unwrap(), "error a command is missing");
        assert!(answers.next().unwrap().starts_with("ok {\"commands\":[\"help"));
        assert!(answers.next().unwrap().starts_with("error"));
        assert_eq!(answers.next().unwrap(), "ok {\"rule\":1}");
        // A second conversation does not wait for the first.
        connection.write_all(b"wait-hung 1 timeout=3600s\n").unwrap();
        assert_eq!(fault.tell("state")["hung"], 0);
    });
}

#[test]
fn calls_and_outcomes_are_counted() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        fault.tell("reset-counts");
        raw.random(token.session).unwrap();
        let _rule = fault.rule("fail C_GenerateRandom CKR_DEVICE_ERROR");
        let _ = raw.random(token.session);
        let _ = raw.random(9999);
        assert_eq!(raw.close(9999), Err(CKR_SESSION_HANDLE_INVALID));
        // What a command does in the real module is not the program's.
        fault.tell("invalidate-sessions");
        assert_eq!(
            fault.tell("counts"),
            serde_json::json!({
                "calls": { "C_GenerateRandom": 3, "C_CloseSession": 1 },
                "outcomes": { "CKR_OK": 1, "CKR_DEVICE_ERROR": 2, "CKR_SESSION_HANDLE_INVALID": 1 },
                "failures": { "C_GenerateRandom": { "CKR_DEVICE_ERROR": 2 }, "C_CloseSession": { "CKR_SESSION_HANDLE_INVALID": 1 } },
            })
        );
        assert_eq!((fault.calls("all"), fault.outcomes("CKR_OK")), (4, 1));
    });
}

#[test]
fn clear_all_undoes_everything() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        fault.tell("cap-sessions 1");
        fault.tell("pin-flags locked token=one");
        fault.tell("fail C_GetTokenInfo CKR_DEVICE_ERROR");
        fault.tell("remove-token token=two");
        fault.tell("clear");
        assert_ne!(raw.token(token.slot).unwrap().flags & CKF_USER_PIN_LOCKED, 0);
        assert_eq!(raw.open(token.slot), Err(CKR_SESSION_COUNT));
        fault.tell("clear all");
        assert_eq!(raw.token(token.slot).unwrap().flags & CKF_USER_PIN_LOCKED, 0);
        raw.open(token.slot).unwrap();
        raw.open(raw.labelled("two")).unwrap();
        assert_eq!(fault.state()["rules"], serde_json::json!([]));
        assert!(fault.ask("drop 1").unwrap_err().contains("no rule"));
    });
}

#[test]
fn the_state_tells_of_rules() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        fault.tell("fail C_GenerateRandom CKR_DEVICE_ERROR every=2");
        for _ in 0..5 {
            let _ = raw.random(token.session);
        }
        let state = fault.state();
        assert_eq!(
            state["rules"],
            serde_json::json!([{ "rule": 1, "text": "fail C_GenerateRandom CKR_DEVICE_ERROR every=2", "calls": 5, "fired": 2 }])
        );
        assert_eq!(state["sessions"], serde_json::json!({ token.slot.to_string(): 1 }));
        assert_eq!((&state["hung"], &state["inside"]), (&0.into(), &0.into()));
    });
}
