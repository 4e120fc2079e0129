//! Base64 as hosts write it: wrapped at some column or not, padded or not.

use alloc::vec;
use alloc::vec::Vec;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The text is not base64. It says nothing of the text, which may be a file's content or a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not base64")]
pub(crate) struct InvalidBase64;

/// Decodes base64, ignoring ASCII white space anywhere and accepting missing padding.
///
/// The result is a third smaller than the text; the caller bounds the text.
pub(crate) fn decode(text: &str) -> Result<Secret, InvalidBase64> {
    let mut packed = Zeroizing::new(Vec::with_capacity(text.len()));
    packed.extend(text.bytes().filter(|byte| !byte.is_ascii_whitespace()));

    // Room for everything at once: a vector that grows leaves unwiped copies behind.
    let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(packed.len())]);
    let len = LENIENT
        .decode_slice(&packed, &mut decoded)
        .map_err(|_| InvalidBase64)?;
    decoded.truncate(len);
    Ok(Secret::from(decoded))
}

/// Bits left over behind the last byte are ignored, as Python's decoder does: encoders that set them exist.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_decodes(text: &str, expected: &[u8]) {
        assert_eq!(decode(text).unwrap().expose(), expected, "{text:?}");
    }

    #[test]
    fn every_length_is_decoded_with_and_without_padding() {
        assert_decodes("", b"");
        assert_decodes("YQ==", b"a");
        assert_decodes("YQ=", b"a");
        assert_decodes("YQ", b"a");
        assert_decodes("YWI=", b"ab");
        assert_decodes("YWI", b"ab");
        assert_decodes("YWJj", b"abc");
    }

    #[test]
    fn white_space_is_ignored_anywhere() {
        assert_decodes("  Y W\tJj\r\nZG\nVm \n", b"abcdef");
        assert_decodes(" \n", b"");
    }

    #[test]
    fn leftover_bits_are_ignored() {
        assert_decodes("YR==", b"a");
    }

    #[test]
    fn binary_content_survives() {
        assert_decodes("AP/+gA==", &[0, 0xff, 0xfe, 0x80]);
    }

    #[test]
    fn other_characters_and_impossible_lengths_are_refused() {
        for text in [
            "Y",
            "YWJjZ",
            "YW-j",
            "YW_j",
            "Y\u{0}Q=",
            "YQ==YQ==",
            "=",
            "Y===",
            "YQ===",
            "\u{e9}Q==",
        ] {
            assert_eq!(decode(text), Err(InvalidBase64), "{text:?}");
        }
    }
}
