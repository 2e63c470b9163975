//! Where in a request a value stands: the names on the way to it.
//!
//! Arrays add nothing. A name that is not known here leads to [`Place::Other`],
//! where everything is text.

/// A part of a request, by the names that lead to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Place {
    Top,
    /// A message; an item of Responses.
    Message,
    /// A part of a message, also inside a tool's result.
    Part,
    /// Chat Completions' `image_url`.
    ImageUrl,
    /// Anthropic's `source`.
    Source,
    /// Chat Completions' `file`.
    File,
    /// Bedrock's `toolResult`.
    ToolResult,
    /// Bedrock's `image`.
    BedrockImage,
    BedrockSource,
    /// Bedrock's `document` and `video`.
    BedrockDocument,
    BedrockDocumentSource,
    /// Gemini's `contents`.
    Contents,
    /// Gemini's part.
    GeminiPart,
    InlineData,
    FileData,
    FunctionResponse,
    /// Cohere's and OpenAI's `images`: addresses of images.
    Images,
    Tools,
    /// `mcp_servers`.
    Servers,
    /// OpenAI's stored `prompt`.
    Prompt,
    #[default]
    Other,
}

/// What a string at some place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Text,
    /// An image's address, which may hold the image itself.
    ImageUrl,
    /// Base64 of an image, for certain.
    ImageBytes,
    /// Base64 of what the object's media type says.
    Held,
    MediaType,
    /// The address of an image or a document.
    Address,
    /// The kind of a part.
    Kind,
    /// The kind of a tool.
    Tool,
    /// Its tokens are not in the body.
    Opaque,
}

impl Place {
    /// Where the object or array is that stands here under `name`.
    pub(super) fn inside(self, name: &[u8]) -> Self {
        match (self, name) {
            (Self::Top, b"messages" | b"input" | b"inputs") => Self::Message,
            (Self::Top, b"contents") => Self::Contents,
            (Self::Top, b"images") => Self::Images,
            (Self::Top, b"tools") => Self::Tools,
            (Self::Top, b"mcp_servers") => Self::Servers,
            (Self::Top, b"prompt") => Self::Prompt,
            (Self::Message, b"content" | b"output")
            | (Self::Part | Self::Source | Self::ToolResult, b"content") => Self::Part,
            (Self::Part, b"image_url") => Self::ImageUrl,
            (Self::Part, b"source") => Self::Source,
            (Self::Part, b"file") => Self::File,
            (Self::Part, b"toolResult") => Self::ToolResult,
            (Self::Part, b"image") => Self::BedrockImage,
            (Self::BedrockImage, b"source") => Self::BedrockSource,
            (Self::Part, b"document" | b"video") => Self::BedrockDocument,
            (Self::BedrockDocument, b"source") => Self::BedrockDocumentSource,
            (Self::Contents, b"parts") | (Self::FunctionResponse, b"parts") => Self::GeminiPart,
            (Self::GeminiPart, b"inlineData" | b"inline_data") => Self::InlineData,
            (Self::GeminiPart, b"fileData" | b"file_data") => Self::FileData,
            (Self::GeminiPart, b"functionResponse" | b"function_response") => {
                Self::FunctionResponse
            }
            _ => Self::Other,
        }
    }

    /// What the string is that stands here under `name`.
    pub(super) fn leaf(self, name: &[u8]) -> Leaf {
        match (self, name) {
            (Self::Part, b"image_url") | (Self::ImageUrl, b"url") => Leaf::ImageUrl,
            (Self::BedrockSource, b"bytes") => Leaf::ImageBytes,
            (Self::Source | Self::InlineData, b"data") => Leaf::Held,
            (Self::Source, b"media_type") | (Self::InlineData, b"mimeType" | b"mime_type") => {
                Leaf::MediaType
            }
            (Self::Source, b"url") => Leaf::Address,
            (Self::Message | Self::Part | Self::Source, b"type") => Leaf::Kind,
            (Self::Tools, b"type") => Leaf::Tool,
            (Self::Top, b"images") => self.element(),
            (
                Self::Top,
                b"previous_response_id" | b"conversation" | b"cachedContent" | b"cached_content",
            )
            | (
                Self::Part,
                b"file_id" | b"file_data" | b"file_url" | b"document_url" | b"video_url"
                | b"audio_url",
            )
            | (Self::File, b"file_id" | b"file_data")
            | (Self::Prompt, b"id")
            | (Self::FileData, b"fileUri" | b"file_uri")
            | (Self::BedrockDocumentSource, b"bytes") => Leaf::Opaque,
            _ => Leaf::Text,
        }
    }

    /// What a string is that is an element of an array here.
    pub(super) const fn element(self) -> Leaf {
        match self {
            Self::Images => Leaf::ImageUrl,
            _ => Leaf::Text,
        }
    }

    /// Is an object here under `name` something that the body does not hold?
    pub(super) fn is_opaque_object(self, name: &[u8]) -> bool {
        match self {
            Self::Top => matches!(name, b"conversation" | b"web_search_options"),
            // Gemini names its own tools; those of the client's are declared.
            Self::Tools => matches!(
                name,
                b"google_search"
                    | b"googleSearch"
                    | b"google_search_retrieval"
                    | b"googleSearchRetrieval"
                    | b"url_context"
                    | b"urlContext"
                    | b"code_execution"
                    | b"codeExecution"
                    | b"file_search"
                    | b"fileSearch"
                    | b"google_maps"
                    | b"googleMaps"
                    | b"systemTool"
            ),
            Self::Part => matches!(name, b"document_url" | b"video_url" | b"audio_url"),
            Self::BedrockDocumentSource | Self::BedrockSource => name == b"s3Location",
            _ => false,
        }
    }
}

/// Does a provider run tools of this type by itself, and feed their results to
/// the model? OpenAI's and Anthropic's names, with or without a version.
pub(super) fn runs_by_itself(kind: &[u8]) -> bool {
    const KINDS: [&[u8]; 12] = [
        b"web_search",
        b"web_fetch",
        b"file_search",
        b"code_interpreter",
        b"code_execution",
        b"image_generation",
        b"mcp",
        b"tool_search",
        b"advisor",
        b"shell",
        b"x_search",
        b"openrouter:",
    ];
    KINDS.iter().any(|known| kind.starts_with(known))
}
