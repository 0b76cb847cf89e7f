# A service whose task sets somebody else deploys.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {}

variable "scale" {
  type    = number
  default = 50
}

variable "tag" {
  default = "b"
}

resource "aws_ecs_task_definition" "one" {
  family = "clients-set"
  container_definitions = jsonencode([{
    name        = "main"
    image       = "busybox:1"
    memory      = 16
    command     = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait $!"]
    stopTimeout = 2
  }])
}

resource "aws_ecs_service" "sets" {
  name          = "clients-sets"
  cluster       = "default"
  desired_count = 2
  tags          = { a = "b" }

  deployment_controller {
    type = "EXTERNAL"
  }
}

resource "aws_ecs_task_set" "blue" {
  service           = aws_ecs_service.sets.id
  cluster           = "default"
  task_definition   = aws_ecs_task_definition.one.arn
  launch_type       = "EC2"
  external_id       = "blue"
  wait_until_stable = true
  force_delete      = true
  tags              = { a = var.tag }

  scale {
    value = var.scale
    unit  = "PERCENT"
  }
}

# Without a scale it has no tasks, and needs no force at its end.
resource "aws_ecs_task_set" "green" {
  service         = aws_ecs_service.sets.id
  cluster         = "default"
  task_definition = aws_ecs_task_definition.one.arn
}
