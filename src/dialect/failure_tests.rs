//! What each provider format says when it fails, literally, and what a client
//! is told of it: the status table of every provider in one place.

use super::anthropic::Anthropic;
use super::bedrock::Bedrock;
use super::cohere::Cohere;
use super::gemini::{Flavour, Gemini};
use super::openai_chat::Compatible;
use super::{Dialect, openai};

/// Status, header and body of an answer, then status, type, code, `param` and
/// seconds to wait of ours.
type Case = (
    u16,
    (&'static str, &'static str),
    &'static str,
    (u16, &'static str, &'static str),
    Option<&'static str>,
    Option<u64>,
);

const INVALID: &str = "invalid_request_error";
const QUOTA: (u16, &str, &str) = (429, "insufficient_quota", "insufficient_quota");
const BUSY: (u16, &str, &str) = (429, "rate_limit_error", "rate_limit_exceeded");
const AUTH: (u16, &str, &str) = (502, "api_error", "upstream_auth");
const BROKEN: (u16, &str, &str) = (502, "api_error", "upstream_error");
const OVERLOADED: (u16, &str, &str) = (503, "overloaded_error", "upstream_overloaded");
const TIMEOUT: (u16, &str, &str) = (504, "api_error", "timeout");
const GONE: (u16, &str, &str) = (404, INVALID, "model_not_found");
const TOO_LONG: (u16, &str, &str) = (400, INVALID, "context_length_exceeded");
const FILTERED: (u16, &str, &str) = (400, INVALID, "content_filter");
const TOO_LARGE: (u16, &str, &str) = (413, INVALID, "request_too_large");
const NONE: (&str, &str) = ("", "");

fn check(dialect: &dyn Dialect, cases: &[Case]) {
    for (status, (name, value), body, expected, param, wait) in cases {
        let header = |asked: &str| (asked == *name).then(|| (*value).to_owned());
        let failure = dialect.failure(*status, &header, body.as_bytes());
        let error = openai::refusal(failure, str::to_owned);
        let told = (error.status(), error.type_(), error.code());
        assert_eq!(told, *expected, "{status} {body}");
        assert_eq!(error.param(), *param, "{status} {body}");
        let seconds = error.retry_after().map(|after| after.as_secs());
        assert_eq!(seconds, *wait, "{status} {body}");
        assert!(!error.public().contains('<'), "{}", error.public());
    }
}

#[test]
fn openai_and_its_relatives() {
    check(
        &Compatible { think_tags: false },
        &[
            (
                400,
                NONE,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                TOO_LONG,
                Some("messages"),
                None,
            ),
            // vLLM
            (
                400,
                NONE,
                r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.","type":"BadRequestError","param":null,"code":400}"#,
                TOO_LONG,
                None,
                None,
            ),
            // llama.cpp
            (
                400,
                NONE,
                r#"{"error":{"code":400,"message":"the request exceeds the available context size. try increasing the context size or enable context shift","type":"invalid_request_error"}}"#,
                TOO_LONG,
                None,
                None,
            ),
            (
                400,
                NONE,
                r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
                (400, INVALID, "unsupported_parameter"),
                Some("max_tokens"),
                None,
            ),
            (
                400,
                NONE,
                r#"{"error":{"message":"Your request was rejected by our safety system.","type":"invalid_request_error","param":null,"code":"content_policy_violation"}}"#,
                FILTERED,
                None,
                None,
            ),
            // Azure
            (
                400,
                NONE,
                r#"{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
                FILTERED,
                Some("prompt"),
                None,
            ),
            (
                401,
                NONE,
                r#"{"statusCode":401,"message":"Access denied due to invalid subscription key."}"#,
                AUTH,
                None,
                None,
            ),
            (
                404,
                NONE,
                r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#,
                GONE,
                None,
                None,
            ),
            (
                429,
                ("retry-after-ms", "1500"),
                r#"{"error":{"code":"429","message":"Requests have exceeded call rate limit."}}"#,
                BUSY,
                None,
                Some(2),
            ),
            // OpenAI
            (
                401,
                NONE,
                r#"{"error":{"message":"Incorrect API key provided: sk-x.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
                AUTH,
                None,
                None,
            ),
            (
                403,
                NONE,
                r#"{"error":{"code":"unsupported_country_region_territory","message":"Country not supported","param":null,"type":"request_forbidden"}}"#,
                AUTH,
                None,
                None,
            ),
            (
                404,
                NONE,
                r#"{"error":{"message":"The model `gpt-9` does not exist","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
                GONE,
                None,
                None,
            ),
            (
                429,
                ("retry-after", "7"),
                r#"{"error":{"message":"Rate limit reached","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
                BUSY,
                None,
                Some(7),
            ),
            (
                429,
                ("retry-after", "7"),
                r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
                QUOTA,
                None,
                None,
            ),
            (
                500,
                NONE,
                r#"{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}"#,
                BROKEN,
                None,
                None,
            ),
            (
                503,
                ("retry-after", "1"),
                r#"{"error":{"message":"The engine is currently overloaded","type":"server_error","param":null,"code":null}}"#,
                OVERLOADED,
                None,
                Some(1),
            ),
            // DeepSeek
            (
                402,
                NONE,
                r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
                QUOTA,
                None,
                None,
            ),
            // Mistral
            (
                422,
                NONE,
                r#"{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required"}]}"#,
                (400, INVALID, "provider_rejected"),
                None,
                None,
            ),
            // Groq
            (
                413,
                NONE,
                r#"{"error":{"message":"Request Entity Too Large","type":"invalid_request_error"}}"#,
                TOO_LARGE,
                None,
                None,
            ),
            (
                498,
                NONE,
                r#"{"error":{"message":"Flex tier capacity exceeded","type":"capacity_exceeded"}}"#,
                OVERLOADED,
                None,
                None,
            ),
            // Proxies in between
            (
                502,
                NONE,
                "<html><body>502 Bad Gateway</body></html>",
                BROKEN,
                None,
                None,
            ),
            (504, NONE, "upstream request timeout", TIMEOUT, None, None),
            (524, NONE, "<!DOCTYPE html>", BROKEN, None, None),
        ],
    );
}

#[test]
fn anthropic() {
    check(
        &Anthropic,
        &[
            (
                400,
                NONE,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"},"request_id":"req_1"}"#,
                TOO_LONG,
                None,
                None,
            ),
            (
                400,
                NONE,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: 9000 > 8192, which is the maximum allowed"}}"#,
                (400, INVALID, INVALID),
                Some("max_tokens"),
                None,
            ),
            (
                400,
                NONE,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#,
                FILTERED,
                None,
                None,
            ),
            (
                400,
                NONE,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
                QUOTA,
                None,
                None,
            ),
            (
                401,
                NONE,
                r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
                AUTH,
                None,
                None,
            ),
            (
                402,
                NONE,
                r#"{"type":"error","error":{"type":"billing_error","message":"Payment required"}}"#,
                QUOTA,
                None,
                None,
            ),
            (
                403,
                NONE,
                r#"{"type":"error","error":{"type":"permission_error","message":"no access"}}"#,
                AUTH,
                None,
                None,
            ),
            (
                404,
                NONE,
                r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-9"}}"#,
                GONE,
                None,
                None,
            ),
            (
                409,
                NONE,
                r#"{"type":"error","error":{"type":"conflict_error","message":"conflict"}}"#,
                (409, "conflict_error", "conflict"),
                None,
                None,
            ),
            (
                413,
                NONE,
                r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
                TOO_LARGE,
                None,
                None,
            ),
            (
                429,
                ("retry-after", "12"),
                r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#,
                BUSY,
                None,
                Some(12),
            ),
            (
                500,
                NONE,
                r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#,
                BROKEN,
                None,
                None,
            ),
            (
                504,
                NONE,
                r#"{"type":"error","error":{"type":"timeout_error","message":"timeout"}}"#,
                TIMEOUT,
                None,
                None,
            ),
            (
                529,
                ("retry-after", "3"),
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                OVERLOADED,
                None,
                Some(3),
            ),
        ],
    );
}

#[test]
fn gemini_and_vertex() {
    for flavour in [Flavour::AiStudio, Flavour::Vertex] {
        check(
            &Gemini::new(flavour),
            &[
                (
                    400,
                    NONE,
                    r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#,
                    AUTH,
                    None,
                    None,
                ),
                (
                    400,
                    NONE,
                    r#"{"error":{"code":400,"message":"The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
                    TOO_LONG,
                    None,
                    None,
                ),
                (
                    400,
                    NONE,
                    r#"{"error":{"code":400,"message":"Please ensure that function call turn comes immediately after a user turn","status":"INVALID_ARGUMENT"}}"#,
                    (400, INVALID, "INVALID_ARGUMENT"),
                    None,
                    None,
                ),
                (
                    401,
                    NONE,
                    r#"{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED"}}"#,
                    AUTH,
                    None,
                    None,
                ),
                (
                    403,
                    NONE,
                    r#"{"error":{"code":403,"message":"Permission denied","status":"PERMISSION_DENIED"}}"#,
                    AUTH,
                    None,
                    None,
                ),
                (
                    404,
                    NONE,
                    r#"{"error":{"code":404,"message":"models/gemini-9 is not found","status":"NOT_FOUND"}}"#,
                    GONE,
                    None,
                    None,
                ),
                (
                    429,
                    NONE,
                    r#"{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"13s"}]}}"#,
                    BUSY,
                    None,
                    Some(13),
                ),
                (
                    429,
                    NONE,
                    r#"[{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"0.5s"}]}}]"#,
                    BUSY,
                    None,
                    Some(1),
                ),
                (
                    429,
                    NONE,
                    r#"{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"13s"}]}}"#,
                    QUOTA,
                    None,
                    None,
                ),
                (
                    499,
                    NONE,
                    r#"{"error":{"code":499,"message":"The operation was cancelled.","status":"CANCELLED"}}"#,
                    OVERLOADED,
                    None,
                    None,
                ),
                (
                    500,
                    NONE,
                    r#"{"error":{"code":500,"message":"An internal error has occurred.","status":"INTERNAL"}}"#,
                    BROKEN,
                    None,
                    None,
                ),
                (
                    503,
                    NONE,
                    r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#,
                    OVERLOADED,
                    None,
                    None,
                ),
                (
                    504,
                    NONE,
                    r#"{"error":{"code":504,"message":"Deadline expired","status":"DEADLINE_EXCEEDED"}}"#,
                    TIMEOUT,
                    None,
                    None,
                ),
            ],
        );
    }
}

#[test]
fn bedrock() {
    const TYPE: &str = "x-amzn-errortype";
    check(
        &Bedrock,
        &[
            (
                400,
                (TYPE, "ValidationException:http://internal.amazon.com/"),
                r#"{"message":"Input is too long for requested model."}"#,
                TOO_LONG,
                None,
                None,
            ),
            (
                400,
                (TYPE, "ValidationException"),
                r#"{"message":"The provided model identifier is invalid."}"#,
                (400, INVALID, "ValidationException"),
                None,
                None,
            ),
            (
                400,
                (TYPE, "ServiceQuotaExceededException"),
                r#"{"message":"You have exceeded your quota."}"#,
                QUOTA,
                None,
                None,
            ),
            (
                403,
                (TYPE, "AccessDeniedException"),
                r#"{"Message":"not authorized"}"#,
                AUTH,
                None,
                None,
            ),
            (
                403,
                (TYPE, "ExpiredTokenException"),
                r#"{"message":"The security token included in the request is expired"}"#,
                AUTH,
                None,
                None,
            ),
            (
                404,
                (TYPE, "ResourceNotFoundException"),
                r#"{"message":"Could not resolve the foundation model"}"#,
                GONE,
                None,
                None,
            ),
            (
                408,
                (TYPE, "ModelTimeoutException"),
                r#"{"message":"timeout"}"#,
                TIMEOUT,
                None,
                None,
            ),
            (
                424,
                (TYPE, "ModelErrorException"),
                r#"{"message":"The model failed"}"#,
                BROKEN,
                None,
                None,
            ),
            (
                429,
                (TYPE, "ThrottlingException"),
                r#"{"message":"Too many requests"}"#,
                BUSY,
                None,
                None,
            ),
            (
                429,
                NONE,
                r#"{"__type":"com.amazon.coral#ModelNotReadyException","message":"not ready"}"#,
                BUSY,
                None,
                None,
            ),
            (
                500,
                (TYPE, "InternalServerException"),
                r#"{"message":"oops"}"#,
                BROKEN,
                None,
                None,
            ),
            (
                503,
                (TYPE, "ServiceUnavailableException"),
                r#"{"message":"busy"}"#,
                OVERLOADED,
                None,
                None,
            ),
        ],
    );
}

#[test]
fn cohere() {
    check(
        &Cohere,
        &[
            (
                400,
                NONE,
                r#"{"message":"too many tokens: the total number of tokens in the prompt exceeds the limit of 128000"}"#,
                TOO_LONG,
                None,
                None,
            ),
            (
                400,
                NONE,
                r#"{"id":"1","message":"invalid request: message must be non-empty"}"#,
                (400, INVALID, "provider_rejected"),
                None,
                None,
            ),
            (
                401,
                NONE,
                r#"{"message":"invalid api token"}"#,
                AUTH,
                None,
                None,
            ),
            (
                402,
                NONE,
                r#"{"message":"You've reached your billing limit"}"#,
                QUOTA,
                None,
                None,
            ),
            (
                404,
                NONE,
                r#"{"message":"model 'x' not found"}"#,
                GONE,
                None,
                None,
            ),
            (
                422,
                NONE,
                r#"{"message":"unprocessable"}"#,
                (400, INVALID, "provider_rejected"),
                None,
                None,
            ),
            (
                429,
                ("retry-after", "5"),
                r#"{"message":"You are past the per minute request limit, please wait and try again later."}"#,
                BUSY,
                None,
                Some(5),
            ),
            (
                429,
                NONE,
                r#"{"message":"You are using a Trial key, which is limited to 1000 API calls / month."}"#,
                QUOTA,
                None,
                None,
            ),
            (
                498,
                NONE,
                r#"{"message":"invalid token"}"#,
                AUTH,
                None,
                None,
            ),
            (
                499,
                NONE,
                r#"{"message":"client closed request"}"#,
                OVERLOADED,
                None,
                None,
            ),
            (
                500,
                NONE,
                r#"{"message":"internal server error"}"#,
                BROKEN,
                None,
                None,
            ),
            (
                503,
                NONE,
                r#"{"data":"no healthy upstream"}"#,
                OVERLOADED,
                None,
                None,
            ),
            (504, NONE, "<html>", TIMEOUT, None, None),
        ],
    );
}

#[test]
fn in_band_a_failure_has_the_status_that_it_would_have_had() {
    let anthropic: &dyn Dialect = &Anthropic;
    for (dialect, data, expected) in [
        (
            anthropic,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            OVERLOADED,
        ),
        (
            anthropic,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#,
            BUSY,
        ),
        (
            &Compatible { think_tags: false },
            r#"{"error":{"message":"Rate limit reached","type":"tokens","code":"rate_limit_exceeded"}}"#,
            BUSY,
        ),
        (
            &Compatible { think_tags: false },
            r#"{"error":{"message":"oops","type":"server_error","code":null}}"#,
            BROKEN,
        ),
        // Responses, both ways.
        (
            &Compatible { think_tags: false },
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"slow down"}}}"#,
            BUSY,
        ),
        (
            &Compatible { think_tags: false },
            r#"{"type":"error","code":"server_error","message":"oops","param":null,"sequence_number":3}"#,
            BROKEN,
        ),
        (&Compatible { think_tags: false }, "not JSON", BROKEN),
    ] {
        let error = openai::refusal(dialect.in_band(data.as_bytes()), str::to_owned);
        let told = (error.status(), error.type_(), error.code());
        assert_eq!(told, expected, "{data}");
    }
}
