use hexabase_backends::seal::{Place, SealError, Sealer};

const PLACE: Place<'static> = Place { purpose: "signing_keys.private_sealed", row: "key-1" };

fn sealer() -> Result<Sealer, SealError> {
    Sealer::new(&[7; 32], "2026")
}

#[test]
fn what_was_sealed_opens_in_its_place_only() -> Result<(), SealError> {
    let sealed = sealer()?.seal(PLACE, b"secret")?;
    assert_eq!(sealer()?.open(PLACE, &sealed)?.as_slice(), b"secret");
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
    let moved = Place { row: "key-2", ..PLACE };
    assert_eq!(sealer()?.open(moved, &sealed), Err(SealError::NotAuthentic));
    let other = Place { purpose: "signing_keys.private_seale", row: "dkey-1" };
    assert_eq!(sealer()?.open(other, &sealed), Err(SealError::NotAuthentic));
    Ok(())
}

#[test]
fn the_same_value_is_sealed_differently_each_time() -> Result<(), SealError> {
    assert_ne!(sealer()?.seal(PLACE, b"secret")?, sealer()?.seal(PLACE, b"secret")?);
    Ok(())
}

#[test]
fn no_changed_or_shortened_value_opens() -> Result<(), SealError> {
    let sealed = sealer()?.seal(PLACE, b"")?;
    for position in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[position] ^= 1;
        assert!(sealer()?.open(PLACE, &changed).is_err(), "byte {position}");
        assert!(sealer()?.open(PLACE, &sealed[..position]).is_err(), "{position} bytes");
    }
    Ok(())
}

#[test]
fn an_earlier_master_key_still_opens_and_a_missing_one_is_named() -> Result<(), SealError> {
    let sealed = sealer()?.seal(PLACE, b"secret")?;
    let next = Sealer::new(&[8; 32], "2027")?;
    assert_eq!(next.open(PLACE, &sealed), Err(SealError::UnknownKey { key_id: "2026".to_owned() }));
    let next = next.with_earlier(&[7; 32], "2026")?;
    assert_eq!(next.open(PLACE, &sealed)?.as_slice(), b"secret");
    assert_eq!(next.key_id(), "2027");
    Ok(())
}

#[test]
fn a_wrong_master_key_under_the_same_id_opens_nothing() -> Result<(), SealError> {
    let sealed = sealer()?.seal(PLACE, b"secret")?;
    let wrong = Sealer::new(&[9; 32], "2026")?;
    assert_eq!(wrong.open(PLACE, &sealed), Err(SealError::NotAuthentic));
    Ok(())
}

#[test]
fn debug_output_shows_no_key() -> Result<(), SealError> {
    let shown = format!("{:?}", sealer()?);
    assert!(shown.contains("2026") && !shown.contains('7'), "{shown}");
    Ok(())
}
