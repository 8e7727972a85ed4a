"""What the drivers of both SDK versions share."""

FORM = {"username": "ada", "email": "ada@example.com", "name": "Ada", "color": "green"}


def wire(model):
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


class Seen:
    """What the server told the client unasked."""

    def __init__(self):
        self.logs, self.updates, self.methods = [], [], []

    def notification(self, message):
        message = getattr(message, "root", message)
        method = getattr(message, "method", "")
        self.methods.append(method)
        if method == "notifications/resources/updated":
            self.updates.append(str(message.params.uri))
