// The interface's texts in Chinese and English.

const isChinese = /\p{Script=Han}/u;

/** The language of a text whose model does not name it, by its script. */
export const languageOf = (text) => (isChinese.test(text) ? "zh" : "en");

/** What the languages call themselves. */
export const ownName = (language) => ({ zh: "中文", en: "English" })[language] ?? language;

const chinese = {
  skip: "跳到描述",
  interfaceLanguage: "界面语言",
  title: "mplug：看图说话",
  privacyHere: (host) => `图片不会离开这台机器（${host}）`,
  privacyThere: (host) => `图片只发往 ${host}，不会去别处`,
  demo: "演示模型：只认识画出来的图形和简单物体。要描述照片，请这样启动：",
  keyLabel: "本服务器的 API 密钥",
  keySend: "使用此密钥",
  keyHelp: "密钥只保存在此标签页中，只发给本服务器。",
  bring: "选择图片",
  choose: "选择图片",
  take: "拍照",
  dropOrPaste: "或拖放、粘贴到页面任意处",
  dropHere: "把图片拖到这里",
  dropNow: "松开即可读取",
  noPreview: "浏览器无法显示此图片，服务器也许仍能读取。",
  examples: "示例",
  example: { cat: "示例：猫和月亮", cars: "示例：汽车", dog: "示例：狗和房子", fish: "示例：鱼" },
  onlyFirst: (count) => `一次读取一张图片：收到 ${count} 个文件，显示第一张。`,
  noPicture: "应为一个图片文件，收到的不是文件。请先保存图片，再拖入。",
  welcomeTitle: "看图说话",
  welcomeCaption: "用模型会的每种语言写一句描述。",
  welcomeWords: "每个词都能指出模型看了哪里，遮住那里会失去多少把握。",
  welcomeAsk: "对图片提问，或比较几句话哪句更符合。",
  captions: "描述",
  reading: (name) => `正在读取 ${name}……`,
  captionOf: (language) => `${ownName(language)}描述`,
  wordsOf: (language) => `${ownName(language)}描述的词，用方向键移动`,
  sure: "很有把握",
  fairlySure: "较有把握",
  guess: "猜测",
  scoreHelp: (score) => `得分 ${score}：每个词元的平均对数概率，0 为最好`,
  match: (share) => `匹配模型：属实的概率 ${share}`,
  doubtful: "存疑",
  copy: "复制",
  copyAltOf: "alt=\"\"：复制为属性",
  copyTextOf: "复制文本",
  copyMarkdownOf: "Markdown：复制",
  copied: "已复制",
  notCopied: "浏览器不允许复制",
  tags: "关键词",
  others: (count) => `其他 ${count} 个候选`,
  time: (queue, decode, model) => `排队 ${queue} 秒 · 解码 ${decode} 秒 · 模型 ${model} 秒`,
  lookingTitle: "词在图中的位置",
  lookingHint: "点按或指向描述中的词，或用 Tab 和方向键选择：图上会显示模型看了哪里。",
  clear: "清除",
  views: "图上显示",
  viewLooked: "看了哪里",
  viewNeeds: "依据哪里",
  viewWithout: "遮住之后",
  veil: "遮罩",
  sureOfWord: (share) => `把握 ${share}`,
  places: [["左上", "上方", "右上"], ["左侧", "中央", "右侧"], ["左下", "下方", "右下"]],
  looked: (word, place) => `写“${word}”时，模型主要看图片的${place}。`,
  needs: (word, place) => `“${word}”主要依据图片的${place}。`,
  without: (word, place) => `“${word}”最依据的十分之一（${place}）已涂灰。`,
  measuring: "正在测量遮住后的变化……",
  falls: (word, from, to) => `遮住图片中最要紧的一条，“${word}”的把握从 ${from} 降到 ${to}。`,
  stays: (word, share) => `遮住图片的任何一条，“${word}”的把握仍约为 ${share}：它由前面的词决定。`,
  mostAttention: (share) => `最亮处：注意力的 ${share}`,
  mostNats: (nats) => `最亮处：${nats} 奈特`,
  mapOf: (word, what) => `“${word}”的图：${what}`,
  askTitle: "对图片提问",
  question: "问题",
  questionExample: "图里有什么？",
  questions: ["图里有什么？", "是什么颜色？", "图里有猫吗？"],
  suggestions: "问题示例",
  askSend: "提问",
  asking: "正在回答……",
  compareTitle: "比较几句话",
  textsLabel: "每行一句",
  textsExample: "一只橙色的猫在月亮下面\n一只黑色的狗",
  textsCaptions: "填入描述",
  compareSend: "比较",
  comparing: "正在比较……",
  comparisonHelp: "每句话属实的概率，各自独立，相加不必为 100 %。",
  usageTitle: "用 API 做同样的事",
  usageHelp: "刚才的请求：",
  usageKey: "密钥取自环境变量 MPLUG_API_KEY。",
  copyCurl: "复制 curl 命令",
  copyPython: "复制 Python 代码",
  recentTitle: "最近的图片（只在此标签页的内存中）",
  openapi: "API 说明（OpenAPI）",
  models: "模型：",
  failed: { captions: "未能描述", explain: "未能显示看了哪里", measure: "未能测量", ask: "未能回答", compare: "未能比较", models: "未能取得模型列表", example: "未能读取示例" },
  unreachable: "无法连接服务器。",
  unexpected: (status) => `应为 JSON 回复，收到 HTTP ${status}。`,
  again: "再试一次",
  againIn: (seconds) => `${seconds} 秒后可再试`,
  noCaptionModel: "此服务器没有加载描述图片的模型。",
};

const english = {
  skip: "Skip to the caption",
  interfaceLanguage: "Language of the page",
  title: "mplug: pictures into words",
  privacyHere: (host) => `Nothing leaves this machine (${host})`,
  privacyThere: (host) => `Pictures go to ${host} and nowhere else`,
  demo: "Demo model: it knows drawn shapes and simple objects only. For photographs, start it as",
  keyLabel: "API key of this server",
  keySend: "Use this key",
  keyHelp: "It stays in this tab and goes to this server only.",
  bring: "Bring a picture",
  choose: "Choose a picture",
  take: "Take a picture",
  dropOrPaste: "or drop or paste one anywhere",
  dropHere: "Drop a picture here",
  dropNow: "Drop the picture",
  noPreview: "This browser cannot show the picture. The server may still read it.",
  examples: "Examples",
  example: { cat: "Example: cat and moon", cars: "Example: cars", dog: "Example: dog and house", fish: "Example: fish" },
  onlyFirst: (count) => `Expected one picture, found ${count} files: the first is shown.`,
  noPicture: "Expected the file of a picture, found no file. Save the picture first, then drop it.",
  welcomeTitle: "Pictures into words",
  welcomeCaption: "A sentence about the picture, in every language that the model has.",
  welcomeWords: "Each word shows where the model looked, and how sure it would be without that part.",
  welcomeAsk: "Questions about the picture, and texts compared with it.",
  captions: "Captions",
  reading: (name) => `Reading ${name} …`,
  captionOf: (language) => `Caption in ${{ zh: "Chinese", en: "English" }[language] ?? language}`,
  wordsOf: (language) =>
    `Words of the caption in ${{ zh: "Chinese", en: "English" }[language] ?? language}; the arrow keys go through them`,
  sure: "sure",
  fairlySure: "fairly sure",
  guess: "a guess",
  scoreHelp: (score) => `score ${score}: the mean log-probability of a token, 0 is best`,
  match: (share) => `${share} likely to be true, says the matching model`,
  doubtful: "doubtful",
  copy: "Copy",
  copyAltOf: "alt=\"\": copy as an attribute",
  copyTextOf: "Copy the text",
  copyMarkdownOf: "Markdown: copy",
  copied: "Copied",
  notCopied: "The browser does not allow to copy",
  tags: "Keywords",
  others: (count) => (count === 1 ? "1 other candidate" : `${count} other candidates`),
  time: (queue, decode, model) => `queue ${queue} s · decoding ${decode} s · model ${model} s`,
  lookingTitle: "Where a word stands",
  lookingHint: "Tap a word, point at it, or reach it with Tab and the arrow keys: the picture shows where the model looked.",
  clear: "Clear the map",
  views: "What the picture shows",
  viewLooked: "looked at",
  viewNeeds: "needed",
  viewWithout: "without it",
  veil: "Veil",
  sureOfWord: (share) => `${share} sure`,
  places: [
    ["at the upper left", "at the top", "at the upper right"],
    ["on the left", "in the middle", "on the right"],
    ["at the lower left", "at the bottom", "at the lower right"],
  ],
  looked: (word, place) => `For “${word}” the model looked mostly ${place}.`,
  needs: (word, place) => `“${word}” stands mostly on what is ${place}.`,
  without: (word, place) => `The tenth that “${word}” stands on most, ${place}, is painted grey.`,
  measuring: "Measuring what it loses …",
  falls: (word, from, to) => `Hide the strip of the picture that matters most, and “${word}” falls from ${from} to ${to}.`,
  stays: (word, share) => `Whichever strip of the picture is hidden, “${word}” stays at about ${share}: it follows from the words before it.`,
  mostAttention: (share) => `brightest: ${share} of the attention`,
  mostNats: (nats) => `brightest: ${nats} nats`,
  mapOf: (word, what) => `Map of “${word}”: ${what}`,
  askTitle: "Ask about the picture",
  question: "Question",
  questionExample: "what is in the picture?",
  questions: ["what is in the picture?", "what colour is it?", "is there a cat?"],
  suggestions: "Suggested questions",
  askSend: "Ask",
  asking: "Answering …",
  compareTitle: "Compare texts with the picture",
  textsLabel: "Texts, one a line",
  textsExample: "an orange cat below the moon\na black dog",
  textsCaptions: "Put the captions in",
  compareSend: "Compare",
  comparing: "Comparing …",
  comparisonHelp: "How probable it is that each text is true. They need not add up to 100 %.",
  usageTitle: "Use by API",
  usageHelp: "What was just done:",
  usageKey: "The key is taken from the environment variable MPLUG_API_KEY.",
  copyCurl: "Copy the curl command",
  copyPython: "Copy the Python lines",
  recentTitle: "The last pictures (in this tab's memory only)",
  openapi: "Description of the API (OpenAPI)",
  models: "Models:",
  failed: { captions: "No caption", explain: "No maps", measure: "Not measured", ask: "No answer", compare: "Not compared", models: "No list of models", example: "No example" },
  unreachable: "The server cannot be reached.",
  unexpected: (status) => `Expected a reply in JSON, found HTTP ${status}.`,
  again: "Try again",
  againIn: (seconds) => `Try again in ${seconds} s`,
  noCaptionModel: "This server has no model that captions pictures.",
};

const texts = { zh: chinese, en: english };
const memory = "mplug.language";

/** The texts of the current language: a live binding. */
export let say = english;
export let interfaceLanguage = "en";

/** The language that was chosen here before, or else the first of the browser's that we have. */
export function preferredLanguage() {
  const wanted = [remembered(), ...navigator.languages].filter(Boolean).map((tag) => tag.slice(0, 2).toLowerCase());
  return wanted.find((tag) => tag in texts) ?? "en";
}

function remembered() {
  try {
    return localStorage.getItem(memory);
  } catch {
    return null; // A browser without storage for this page only forgets the choice.
  }
}

export function rememberLanguage(language) {
  try {
    localStorage.setItem(memory, language);
  } catch {
    // See `remembered`.
  }
}

/** Puts every fixed text of the page into a language. */
export function useLanguage(language) {
  say = texts[language];
  interfaceLanguage = language;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = say.title;
  for (const node of document.querySelectorAll("[data-say]")) node.textContent = say[node.dataset.say];
  for (const node of document.querySelectorAll("[data-say-label]")) node.setAttribute("aria-label", say[node.dataset.sayLabel]);
  for (const node of document.querySelectorAll("[data-say-placeholder]")) node.placeholder = say[node.dataset.sayPlaceholder];
  for (const choice of document.querySelectorAll("[data-language]")) {
    choice.setAttribute("aria-pressed", String(choice.dataset.language === language));
  }
}

/** A probability for people: never 0 % or 100 %, which no model can know. */
export function share(probability) {
  if (probability < 0.005) return "<\u00a01\u00a0%";
  if (probability > 0.995) return ">\u00a099\u00a0%";
  return `${Math.round(100 * probability)}\u00a0%`;
}

/** A small probability, such as that of one patch of a map. */
export const smallShare = (probability) => `${(100 * probability).toFixed(1)}\u00a0%`;

/**
 * A score in words. Of the demo model's captions (`mplug synth D --count 400 --seed 771`, then
 * `mplug caption D/images --language zh,en --format jsonl`), 713 of 731 of the first kind are among the drawing's own captions,
 * 54 of 61 of the second, 3 of 8 of the third. Nothing was measured on photographs.
 */
export function sureness(score) {
  if (score >= -0.6) return { level: "is-sure", text: say.sure };
  if (score >= -0.8) return { level: "is-fair", text: say.fairlySure };
  return { level: "is-guess", text: say.guess };
}

/** A score with the minus sign of a text. */
export const scoreText = (score) => score.toFixed(2).replace("-", "−");

/** Suggested questions in the interface's language, if the model answers in it. The demo answers in both, though its vocabulary is Chinese. */
export function suggestedQuestions({ languages, is_demo: isDemo }) {
  const isKnown = isDemo || languages.length === 0 || languages.includes(interfaceLanguage);
  const language = isKnown ? interfaceLanguage : languages[0];
  return (texts[language] ?? english).questions;
}
