use super::*;
use proptest::prelude::*;
use std::sync::Arc;

fn file() -> Vec<u8> {
    write(&Model::built_in().expect("the weights that come with the program"))
}

/// With a checksum that is right again.
fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    let end = file.len() - 4;
    let crc = crc32fast::hash(&file[..end]);
    file[end..].copy_from_slice(&crc.to_le_bytes());
    file
}

#[test]
fn what_is_written_is_read_again() {
    let built_in: Arc<Model> = Model::built_in().unwrap();
    let read = read(&file()).unwrap();
    assert_eq!(read.header, built_in.header);
    assert_eq!(read.parameters, built_in.parameters);
    assert_eq!(read.quantiles, built_in.quantiles);
    assert!(read.rows == built_in.rows);
}

#[test]
fn sources_and_licences_come_along() {
    let built_in = Model::built_in().unwrap();
    let sources = &built_in.header().sources;
    assert!(sources.len() > 10);
    for source in sources {
        assert!(!source.licence.is_empty() && source.rows > 0, "{source:?}");
        assert!(!source.licence.contains("NC"), "{source:?}");
    }
    assert!(built_in.header().evaluation["kind"].is_array());
}

#[test]
fn each_fault_has_its_name() {
    let good = file();
    assert_eq!(read(b"").unwrap_err(), WeightsError::Magic);
    assert_eq!(read(b"tollclas").unwrap_err(), WeightsError::Length);
    let mut other = good.clone();
    other[8] = 2;
    assert_eq!(read(&other).unwrap_err(), WeightsError::Version(2));
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    assert_eq!(read(&damaged).unwrap_err(), WeightsError::Crc);
    let mut long = good.clone();
    long.push(0);
    assert_eq!(read(&sealed(long)).unwrap_err(), WeightsError::Length);
    let short = good[..good.len() - 9].to_vec();
    assert_eq!(read(&sealed(short)).unwrap_err(), WeightsError::Length);
    let mut header = good.clone();
    header[16] = b'x';
    assert!(matches!(
        read(&sealed(header)).unwrap_err(),
        WeightsError::Header(_)
    ));
    let mut model = read(&good).unwrap();
    model.header.features.cues_crc32 ^= 1;
    assert_eq!(read(&write(&model)).unwrap_err(), WeightsError::Features);
    let mut model = read(&good).unwrap();
    model.header.outputs.swap(0, 1);
    assert_eq!(read(&write(&model)).unwrap_err(), WeightsError::Outputs);
    let mut model = read(&good).unwrap();
    model.parameters.scales[3] = f32::NAN;
    assert_eq!(read(&write(&model)).unwrap_err(), WeightsError::Numbers);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_damage_is_taken(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut file = file();
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        prop_assert!(read(&file).is_err());
    }

    #[test]
    fn whatever_it_is_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in any::<prop::sample::Index>()) {
        let good = file();
        let mut file = good[..cut.index(good.len()).max(16)].to_vec();
        file.extend(&bytes);
        file.extend([0; 4]);
        prop_assert!(read(&bytes).is_err());
        prop_assert!(read(&sealed(file)).is_err());
    }
}
