//! TLS to Asterisk: reads the file of CA certificates, and says why a certificate was rejected and
//! which setting helps.

use reqwest::Certificate;

use super::ClientError;

/// How Asterisk's own script makes certificates.
const VERSION_1: &str = "Asterisk's certificate is of X.509 version 1 and has no subjectAltName, as its script \
                         ast_tls_cert makes it, and nobody checks such a one any more: make another by the two openssl \
                         lines in deploy/asterisk/README.md";
const UNKNOWN_ISSUER: &str = "Asterisk's certificate is signed by nobody who is known here: name the file of its \
                              CA's certificate with ASTERISK_CA_FILE";

/// Reads the certificates of CAs, in PEM.
pub(super) fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, ClientError> {
    let read = Certificate::from_pem_bundle(pem);
    let certificates = read.map_err(|error| ClientError::Authority(error.to_string()))?;
    if certificates.is_empty() {
        let none = "there is no certificate in it".to_owned();
        return Err(ClientError::Authority(none));
    }
    Ok(certificates)
}

/// A failure's text, or a better one where it is known what is the matter.
pub(super) fn explained(text: String) -> String {
    // As rustls and webpki name them.
    if text.contains("UnsupportedCertVersion") {
        VERSION_1.to_owned()
    } else if text.contains("UnknownIssuer") {
        UNKNOWN_ISSUER.to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        for pem in ["", "x", "-----BEGIN CERTIFICATE-----\n"] {
            assert!(authorities(pem.as_bytes()).is_err(), "{pem:?}");
        }
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        let text = "connection refused".to_owned();
        assert_eq!(explained(text.clone()), text);
    }
}
