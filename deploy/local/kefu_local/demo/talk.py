"""What is said in the shop: everyday questions, and how an agent answers them."""

from dataclasses import dataclass

GREETING = "您好，很高兴为您服务。"
ANYTHING_ELSE = "您好，您的问题我已经记录下来了，请问还有什么可以帮您？"
NOTED = "已了解客户情况。"
SETTLED = "consulted"
"""The resolution code of what no dialogue is about."""


@dataclass(frozen=True)
class Line:
    """The contact says something, and the agent answers."""

    asks: str
    answer: str


@dataclass(frozen=True)
class Dialogue:
    group: str
    """Whose business it is."""
    lines: tuple[Line, ...]
    note: str
    code: str


@dataclass(frozen=True)
class Letter:
    """An e-mail; with `follow_up` its writer announces a second one, which belongs to the same matter."""

    group: str
    subject: str
    text: str
    answer: str
    code: str
    follow_up: str | None = None


DIALOGUES = (
    Dialogue(
        "pre-sale",
        (
            Line("你好，X200烤箱现在有货吗？", "您好，X200目前有现货，今天16点前下单当天发出。"),
            Line("送到成都大概几天？", "成都一般两到三天，顺丰包邮。"),
            Line("好的，那我下单了，谢谢", "不客气，祝您烘焙愉快！"),
        ),
        "咨询X200库存与物流，已下单。",
        "ordered",
    ),
    Dialogue(
        "pre-sale",
        (
            Line("空气炸锅5升和7升有什么区别？", "5升适合两到三人，7升可以放下整只鸡，适合四人以上。"),
            Line("我们家四口人", "那推荐7升款，现在有满减，到手399元。"),
        ),
        "推荐7升空气炸锅。",
        "advised",
    ),
    Dialogue(
        "pre-sale",
        (
            Line("金卡会员还能叠加优惠券吗", "可以叠加，金卡九五折之后再用券。"),
            Line("券在哪里领？", "首页右上角领券中心，今天还剩两百张。"),
        ),
        "说明会员折扣与优惠券叠加规则。",
        "advised",
    ),
    Dialogue(
        "after-sale",
        (
            Line("昨天收到的榨汁机不转了", "非常抱歉给您带来不便，请问通电后指示灯亮吗？"),
            Line("灯亮，但是电机没声音", "明白了，属于质量问题，马上为您安排换新，快递上门取件。"),
            Line("要我付运费吗？", "不用，来回运费都由我们承担。"),
        ),
        "榨汁机电机故障，已登记换货。",
        "replacement",
    ),
    Dialogue(
        "after-sale",
        (
            Line("我的订单三天了还没发货", "我帮您查一下，请稍等。您的订单今天上午已经出库了。"),
            Line("能给我快递单号吗", "可以，单号已经发到您的手机，晚上可以看到物流。"),
        ),
        "催发货，已提供物流单号。",
        "shipping",
    ),
    Dialogue(
        "after-sale",
        (
            Line("发票抬头开错了，能改吗？", "可以的，请把正确的公司名称和税号发给我。"),
            Line("成都某某科技有限公司，税号稍后邮件发", "好的，收到后一个工作日内重新开具电子发票。"),
        ),
        "发票抬头修改。",
        "invoice",
    ),
    Dialogue(
        "complaints",
        (
            Line("快递员态度太差了，我要投诉", "非常抱歉！请告诉我大概的时间和经过，我来为您登记。"),
            Line(
                "昨天下午，直接把箱子扔在门口，杯子都碎了", "真的对不起，破损的杯子今天补发，快递公司那边我们会追责。"
            ),
        ),
        "投诉快递野蛮派送，补发并向承运商追责。",
        "compensated",
    ),
    Dialogue(
        "complaints",
        (
            Line("同一个问题我已经问了三次了，到底谁负责？", "让您反复沟通是我们的问题，从现在起由我一直跟进到底。"),
            Line("那今天能有结果吗", "今天18点前我给您答复，办不到会给您补偿。"),
        ),
        "重复来访，已承诺当日答复。",
        "promised",
    ),
)

LETTERS = (
    Letter(
        "pre-sale",
        "企业采购咨询",
        "您好，我们公司想采购三十台咖啡机，请问有团购价吗？",
        "您好，三十台可享八五折，报价单见附件，有效期七天。",
        "quoted",
    ),
    Letter(
        "after-sale",
        "退货申请",
        "收到的电饭煲内胆有划痕，申请退货。照片我下一封邮件发。",
        "照片收到了，退货申请已经通过，退款三个工作日内到账。",
        "refund",
        follow_up="这是照片，订单号见上一封邮件，谢谢。",
    ),
    Letter(
        "after-sale",
        "保修期",
        "请问破壁机的保修期是多久？发票丢了还能保修吗？",
        "您好，整机保修两年，凭订单号即可，不需要发票。",
        "advised",
    ),
    Letter(
        "complaints",
        "对处理结果不满意",
        "上次的赔偿方案我不能接受，请负责人联系我。",
        "您好，主管已经重新审核，为您全额退款并赠送五十元券。",
        "compensated",
    ),
)

LEFT = (
    "晚上想咨询一下烤箱的尺寸，请明天上午给我回电话。",
    "订单还没收到，请尽快联系我。",
    "想问一下你们国庆有没有活动？",
    "收到的杯子碎了一个，怎么补发？",
    "请问可以开增值税专用发票吗？",
)

CALL_NOTES = {
    "pre-sale": ("电话咨询产品与价格，已介绍。", "advised"),
    "after-sale": ("电话报修，已登记上门时间。", "repair"),
    "complaints": ("电话投诉，已致歉并给出方案。", "compensated"),
}

BY_QUESTION: dict[str, tuple[Dialogue, int]] = {
    line.asks: (dialogue, place) for dialogue in DIALOGUES for place, line in enumerate(dialogue.lines)
}
BY_LETTER = {letter.text: letter for letter in LETTERS}
